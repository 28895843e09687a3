//! Configuration files as data: each in `good` has its plan beside it, each in `bad` all complaints
//! about it, in the words an administrator sees.
//!
//! A case is a file, or a folder with `polyport.toml` and `conf.d`. Lines `#: env NAME=VALUE` and
//! `#: set KEY=VALUE` in its main file are the environment and the command line. The machine is made
//! up, so that results are the same everywhere. POLYPORT_BLESS=1 rewrites what is expected; the
//! difference is then read like any other change.
//!
//! Invariant: every case is compared whole; no complaint goes unnoticed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use polyport::config::schema::{KEYS, Preset};
use polyport::config::{self, Complaint, Sources, Surroundings};
use polyport::plan::{Facts, Plan, UserNumbers, resolve};

fn made_up_machine() -> Facts {
    Facts {
        cpus: 4,
        services: "echo 7/tcp\ngopher 70/tcp\nhttp 80/tcp www\necho 7/udp\ntftp 69/udp\n"
            .to_owned(),
        user: |name| match name {
            "polyport" => Ok(Some(UserNumbers { uid: 990, gid: 991 })),
            "unsure" => Err("EIO: I/O error".to_owned()),
            _ => Ok(None),
        },
        group: |name| Ok((name == "polyport").then_some(991)),
        interface: |name| Ok((name == "eth0").then_some(2)),
        exists: |path| path.ends_with("libpolyport_line_chat.so"),
    }
}

fn planned(sources: &Sources, environment: &[(&str, &str)]) -> Result<Plan, Vec<Complaint>> {
    let owned = |(name, value): &(&str, &str)| (OsString::from(name), OsString::from(value));
    let surroundings = Surroundings {
        environment: environment.iter().map(owned).collect(),
        current_dir: PathBuf::from("/home/admin"),
    };
    resolve(config::read(sources, &surroundings), &made_up_machine())
}

fn inline(text: &str) -> Sources {
    Sources {
        inline: Some(text.to_owned()),
        ..Sources::default()
    }
}

fn case(main: &Path) -> Result<Plan, Vec<Complaint>> {
    let text = String::from_utf8_lossy(&fs::read(main).expect("a readable case")).into_owned();
    let directives = |word: &str| {
        let prefix = format!("#: {word} ");
        let matching = text.lines().filter_map(|line| line.strip_prefix(&prefix));
        matching.map(str::to_owned).collect::<Vec<_>>()
    };
    let variables = directives("env");
    let environment = variables
        .iter()
        .map(|pair| pair.split_once('=').expect("NAME=VALUE"))
        .collect::<Vec<_>>();
    let sources = Sources {
        file: Some(main.to_owned()),
        inline: None,
        overrides: directives("set"),
    };
    planned(&sources, &environment)
}

/// (name, main file) of each case, in name order.
fn cases(folder: &str) -> Vec<(String, PathBuf)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).expect("the folder of cases") {
        let path = entry.expect("a case").path();
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            cases.push((name, path.join("polyport.toml")));
        } else if path.extension().is_some_and(|ending| ending == "toml") {
            cases.push((name, path));
        }
    }
    cases.sort();
    cases
}

fn compare(expected: &Path, found: &str) -> Option<String> {
    if std::env::var_os("POLYPORT_BLESS").is_some() {
        fs::write(expected, found).expect("a writable folder of cases");
        return None;
    }
    let text = fs::read_to_string(expected).unwrap_or_default();
    let differs = text != found;
    differs.then(|| format!("--- {}\n{text}--- found\n{found}", expected.display()))
}

fn lines(complaints: &[Complaint]) -> String {
    complaints
        .iter()
        .map(|complaint| format!("{complaint}\n"))
        .collect()
}

#[test]
fn good_files_give_their_plans() {
    let folder = "tests/config/good";
    let mut wrong = Vec::new();
    for (name, main) in cases(folder) {
        match case(&main) {
            Ok(plan) => {
                let json = serde_json::to_string_pretty(&plan).expect("plans are JSON") + "\n";
                let json = json.replace(&format!("{folder}/"), "");
                wrong.extend(compare(&Path::new(folder).join(name + ".json"), &json));
                let back: Plan = serde_json::from_str(&json).expect("a plan is read back");
                assert_eq!(back.services, plan.services, "{}", main.display());
            }
            Err(complaints) => wrong.push(format!("{name}: {}", lines(&complaints))),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bad_files_give_all_their_complaints() {
    let folder = "tests/config/bad";
    let mut wrong = Vec::new();
    let cases = cases(folder);
    assert!(cases.len() >= 25);
    for (name, main) in cases {
        match case(&main) {
            Ok(_) => wrong.push(format!("{name}: accepted")),
            Err(complaints) => {
                let found = lines(&complaints).replace(&format!("{folder}/"), "");
                wrong.extend(compare(&Path::new(folder).join(name + ".txt"), &found));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_shipped_example_resolves_and_serves_on_ipv4_loopback_only() {
    let sources = Sources {
        file: Some(PathBuf::from("../etc/polyport.toml")),
        ..Sources::default()
    };
    let plan = planned(&sources, &[]).unwrap_or_else(|all| panic!("{}", lines(&all)));
    let listens = plan.services.iter().flat_map(|(name, service)| {
        let endpoints = service.endpoints.iter();
        endpoints.map(move |endpoint| format!("{name} {}", endpoint.written))
    });
    assert_eq!(
        listens.collect::<Vec<_>>(),
        [
            "chat tcp://127.0.0.1:7777",
            "echo tcp://127.0.0.1:7007",
            "gopher tcp://127.0.0.1:7070",
            "greeter tcp://127.0.0.1:51423",
            "udp-echo udp://127.0.0.1:7007"
        ]
    );
}

#[test]
fn the_shipped_example_shows_every_key_with_its_default() {
    let example = fs::read_to_string("../etc/polyport.toml").expect("the example");
    let mut section = String::new();
    let mut shown = Vec::new();
    for line in example.lines() {
        let line = line.trim_start_matches('#');
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_end_matches(']').replace("example", "*");
            shown.push((section.clone(), String::new()));
        } else if let Some((key, value)) = line.split_once(" = ")
            && !line.starts_with(' ')
        {
            shown.push((format!("{section}.{key}"), value.to_owned()));
        }
    }
    for key in KEYS {
        let found = shown.iter().find(|(path, _)| path == key.path);
        let (_, value) = found.unwrap_or_else(|| panic!("{} is not in the example", key.path));
        if let Preset::Is(default) = key.default {
            assert_eq!(value, default, "{}", key.path);
        }
    }
    let uncommented = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(code) if !code.starts_with(' ') => format!("{code}\n"),
            _ => format!("{line}\n"),
        })
        .collect::<String>();
    if let Err(complaints) = planned(&inline(&uncommented), &[]) {
        panic!("{}", lines(&complaints));
    }
}

#[test]
fn no_file_can_make_reading_panic_or_stay_silent() {
    let example = fs::read_to_string("../etc/polyport.toml").expect("the example");
    let small = fs::read_to_string("../etc/conf.d/echo.toml").expect("the example");
    // Cutting prose short shows nothing, so of the comments only keys stay, made real.
    let text = example
        .lines()
        .map(|line| line.strip_prefix('#').unwrap_or(line))
        .filter(|line| !line.starts_with(' ') && !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect::<String>()
        + &small;
    let seed = match std::env::var("POLYPORT_SEED") {
        Ok(seed) => seed.parse().expect("a number"),
        Err(_) => 0x5EED,
    };
    println!("POLYPORT_SEED={seed}");
    let main = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutated/polyport.toml");
    fs::create_dir_all(main.parent().expect("a folder")).expect("a folder for the case");
    let judge = |what: &str, bytes: &[u8]| {
        fs::write(&main, bytes).expect("a case");
        if let Err(complaints) = case(&main) {
            assert!(!complaints.is_empty(), "{what}");
            assert!(complaints.iter().all(|one| !one.file.is_empty()), "{what}");
            let all = lines(&complaints);
            assert_eq!(all.lines().count(), complaints.len(), "{what}: {all}");
        }
        let sources = Sources {
            file: Some(main.clone()),
            ..Sources::default()
        };
        assert!(
            config::run_dir(&sources, &Surroundings::default()).is_absolute(),
            "{what}"
        );
    };
    for end in 0..=text.len() {
        judge(&format!("the first {end} bytes"), &text.as_bytes()[..end]);
    }
    let mut random = Random(seed);
    for round in 0..1000 {
        let mut bytes = text.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            random.mutate(&mut bytes);
        }
        judge(&format!("POLYPORT_SEED={seed}, round {round}"), &bytes);
    }
}

/// xorshift64: enough for mutations, the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        const TELLING: &[u8] = b"[]{}\"'=.,#\n\r\t\\ -_0aZ%*:/\0\xff\xc3";
        let at = self.below(bytes.len());
        match self.below(5) {
            0 => bytes[at] = TELLING[self.below(TELLING.len())],
            1 => bytes.insert(at, TELLING[self.below(TELLING.len())]),
            2 => drop(bytes.remove(at)),
            3 => {
                let end = (at + self.below(200)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = self.below(bytes.len());
                drop(bytes.splice(to..to, piece));
            }
            _ => {
                let end = (at + self.below(200)).min(bytes.len());
                drop(bytes.drain(at..end));
                bytes.push(b'\n');
            }
        }
    }
}

#[test]
fn what_is_no_file_of_text_is_a_complaint_about_that_file() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("odd");
    fs::create_dir_all(&folder).expect("a folder for the cases");
    let large = folder.join("large.toml");
    fs::write(&large, vec![b'#'; (1 << 20) + 1]).expect("a large file");
    let bytes = folder.join("bytes.toml");
    fs::write(&bytes, b"[daemon]\nuser = \"\xff\"\nusr = 1\n").expect("a binary file");
    let pipe = folder.join("pipe.toml");
    // It may be there from an earlier run.
    let _ = fs::remove_file(&pipe);
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).expect("a pipe");
    let table: [(&Path, &[&str]); 6] = [
        (Path::new("/nonexistent/polyport.toml"), &["no such file"]),
        (Path::new("/"), &["not a regular file"]),
        (Path::new(""), &["no such file"]),
        (&large, &["larger than 1 MiB"]),
        (&pipe, &["not a regular file"]),
        (
            &bytes,
            &[
                "2: not valid UTF-8",
                "3: daemon.usr: unknown key",
                "2: daemon.user: there is no user",
            ],
        ),
    ];
    for (file, expected) in table {
        let sources = Sources {
            file: Some(file.to_owned()),
            ..Sources::default()
        };
        let complaints = planned(&sources, &[]).expect_err("no plan");
        let said = lines(&complaints);
        assert_eq!(complaints.len(), expected.len(), "{said}");
        for part in expected {
            assert!(said.contains(part), "{said}");
        }
    }
}

#[test]
fn layers_go_over_each_other_in_their_order() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("layers");
    fs::create_dir_all(folder.join("conf.d")).expect("a folder for the case");
    let write = |name: &str, level: &str| {
        let text = format!("[daemon.log]\nlevel = \"{level}\"\n");
        fs::write(folder.join(name), text).expect("a layer");
    };
    let level = |overrides: &[&str], environment: &[(&str, &str)]| {
        let sources = Sources {
            file: Some(folder.join("polyport.toml")),
            inline: None,
            overrides: overrides.iter().map(|text| (*text).to_owned()).collect(),
        };
        let plan = planned(&sources, environment).unwrap_or_else(|all| panic!("{}", lines(&all)));
        format!("{:?}", plan.daemon.log.level)
    };
    for file in ["conf.d/10.toml", "conf.d/20.toml"] {
        // They may be there from an earlier run.
        let _ = fs::remove_file(folder.join(file));
    }
    fs::write(folder.join("polyport.toml"), "").expect("a layer");
    assert_eq!(level(&[], &[]), "Info");
    write("polyport.toml", "debug");
    assert_eq!(level(&[], &[]), "Debug");
    write("conf.d/20.toml", "warning");
    write("conf.d/10.toml", "error");
    assert_eq!(level(&[], &[]), "Warning");
    let variable = [("POLYPORT_DAEMON__LOG__LEVEL", "error")];
    assert_eq!(level(&[], &variable), "Error");
    assert_eq!(level(&["daemon.log.level=info"], &variable), "Info");
    let twice = ["daemon.log.level=info", "daemon.log.level=\"debug\""];
    assert_eq!(level(&twice, &variable), "Debug");
}

#[test]
fn complaints_are_many_but_not_endless() {
    let text = (0..5000)
        .map(|i| format!("key{i} = 1\n"))
        .collect::<String>();
    let complaints = planned(&inline(&text), &[]).expect_err("no plan");
    assert_eq!(complaints.len(), config::COMPLAINTS_MAX + 1);
    let last = complaints.last().expect("many").to_string();
    assert!(last.contains("more complaints"), "{last}");
}
