//! Gopher through the real daemon, read by the programs of others: curl, lynx, w3m, phetch, Pituophis and
//! the Debian client `gopher`, and by a browser's requests.
//!
//! The hole is the one that is shipped, so what it links to is shown to be there. What the answers are
//! in detail is tested with the plugin.

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use support::daemon::{Daemon, Directory, PATIENCE, polyport, run_to_end};
use support::dice::Dice;
use support::program::{End, Talk, holds, program, talk};

/// The shipped hole as `gopher`, a folder without maps as `plain`.
fn serve(name: &str, plain: &Path) -> Daemon {
    support::plugins::folder();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../etc/gopher");
    let service = |name: &str, root: &Path| {
        format!(
            "[services.{name}]\nplugin = \"gopher\"\nworkers = 1\nlisten = [\"tcp://127.0.0.1:0\"]\n\
             [services.{name}.settings]\nroot = \"{}\"\n",
            root.display()
        )
    };
    let config = service("gopher", &shipped) + &service("plain", plain);
    Daemon::start(name, &config)
}

fn output(mut command: Command, arguments: &[&str]) -> Vec<u8> {
    command.args(arguments).env("TERM", "vt100");
    let output = run_to_end(command);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    output.stdout
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What `scripts/clients.sh` has put beside the build: phetch, and Pituophis as a script of ours calls it.
fn client(name: &str) -> Command {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/clients");
    let (file, command) = match name {
        "phetch" => {
            let file = clients.join("bin/phetch");
            (file.clone(), Command::new(file))
        }
        "Pituophis" => {
            let mut python = program("python3", "python3");
            python.arg("tests/clients/pituophis_fetch.py");
            python.env("PYTHONPATH", clients.join("python"));
            (clients.join("python/pituophis"), python)
        }
        debian => return program(debian, debian),
    };
    assert!(
        file.exists(),
        "{name} is missing; run this first:\n  ./scripts/clients.sh"
    );
    command
}

#[test]
fn clients_read_menus_texts_searches_addresses_and_errors() {
    let plain = Directory::new("gopher-clients-plain");
    let daemon = serve("gopher-clients", plain.path());
    let address = daemon.address("gopher", 0);
    let lynx: &[&str] = &["-dump", "-nolist"];
    let w3m: &[&str] = &["-dump"];
    let curl: &[&str] = &["--silent", "--max-time", "20"];
    let phetch: &[&str] = &["--no-config", "--raw"];
    let programs = [
        ("curl", curl),
        ("lynx", lynx),
        ("w3m", w3m),
        ("phetch", phetch),
        ("Pituophis", &[]),
    ];
    for (item, expected) in [
        ("", "Writing a plugin"),
        ("1/plugins", "The idea"),
        ("0/about.txt", "WHAT POLYPORT IS"),
        ("0/plugins/smallest.rs", "export_plugin!"),
        ("0/missing.txt", "There is nothing here by that name."),
        ("0/caps.txt", "CapsVersion=1"),
        ("7/search%09shared", "plugins/idea.txt"),
        ("hURL:http://example.org/", "http://example.org/"),
    ] {
        for (name, arguments) in programs {
            if name == "phetch" && item.starts_with("hURL:") {
                // It takes the second colon of an address for a port, and sends such items to a browser.
                continue;
            }
            let item = match name {
                // They ask for a search in their own way.
                "lynx" | "w3m" | "phetch" => item.replace("%09", "?"),
                _ => item.to_owned(),
            };
            let url = format!("gopher://{address}/{item}");
            let mut arguments = arguments.to_vec();
            arguments.push(&url);
            let printed = text(&output(client(name), &arguments));
            assert!(printed.contains(expected), "{name} {url}: {printed}");
        }
    }
    daemon.finish(&[]);
}

#[test]
fn the_debian_client_reads_what_the_others_do() {
    let plain = Directory::new("gopher-umn-plain");
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(plain.path().join("a.bin"), &content).expect("a file");
    let home = Directory::new("gopher-umn-home");
    // The first run in a home begins with a prompt.
    fs::write(home.path().join(".gopherrc"), "").expect("a file");
    let daemon = serve("gopher-umn", plain.path());
    program("gopher", "gopher");
    let (hole, plain) = (daemon.address("gopher", 0), daemon.address("plain", 0));
    let url = |item: &str| format!("gopher://{hole}/{item}");
    for (place, prompt, input, expected) in [
        // By Gopher+, as it asks a host without more.
        (
            format!("{} {}", hole.ip(), hole.port()),
            "",
            "",
            "Writing a plugin",
        ),
        (url("1/plugins"), "", "", "The idea"),
        (url("0/about.txt"), "", "", "WHAT POLYPORT IS"),
        (
            url("0/missing.txt"),
            "",
            "",
            "There is nothing here by that name.",
        ),
        (
            url("7/search"),
            "Words to search for",
            "shared\r",
            "plugins/idea.txt",
        ),
        (
            url("hURL:http://example.org/"),
            "OK: ",
            "\r",
            "Outside of gopher",
        ),
        (
            format!("gopher://{plain}/9/a.bin"),
            "Save in file",
            "\r",
            "",
        ),
    ] {
        let mut script = program("script", "bsdutils");
        script
            .args(["-qec", &format!("gopher {place}"), "/dev/null"])
            .env("TERM", "vt100")
            .env("HOME", home.path())
            .current_dir(home.path());
        let conversation = Talk {
            prompt,
            input: input.as_bytes(),
            end: End::Test,
        };
        // It goes by itself when it has saved something.
        let printed = talk(script, &conversation, |printed| {
            !expected.is_empty() && holds(printed, expected.as_bytes())
        });
        assert!(
            holds(&printed, expected.as_bytes()),
            "{place}: {}",
            text(&printed)
        );
    }
    let saved = fs::read_dir(home.path()).expect("a folder");
    let saved = saved.map(|entry| entry.expect("it is read").path());
    let saved: Vec<_> = saved
        .filter(|it| it.to_string_lossy().ends_with("a.bin"))
        .collect();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert!(fs::read(&saved[0]).expect("a file") == content);
    daemon.finish(&[]);
}

/// Whatever else it says meanwhile: a reset would cost it what it has not read yet.
#[test]
fn who_says_more_than_a_request_gets_a_long_answer_whole() {
    let plain = Directory::new("gopher-more-plain");
    let content: Vec<u8> = (0..75_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(plain.path().join("a.bin"), &content).expect("a file");
    let daemon = serve("gopher-more", plain.path());
    for (nth, more) in ["\r\n", "GET / HTTP/1.0\r\n\r\n"].into_iter().enumerate() {
        let mut peer = TcpStream::connect(daemon.address("plain", 0)).expect("it listens");
        peer.set_read_timeout(Some(PATIENCE)).expect("set");
        peer.write_all(b"/a.bin\r\n").expect("sent");
        let sent = (nth as u64 + 1) * content.len() as u64;
        daemon.wait_for("all of it to leave", |status| {
            status["services"]["plain"]["totals"]["bytes_out"] == sent
        });
        peer.write_all(more.as_bytes()).expect("sent");
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).expect("an orderly end");
        assert!(heard == content, "{} of {}", heard.len(), content.len());
    }
    daemon.finish(&[]);
}

#[test]
fn who_reads_nothing_is_given_up_and_the_others_are_not() {
    let plain = Directory::new("gopher-stalled-plain");
    fs::write(plain.path().join("large.bin"), vec![b'x'; 32 << 20]).expect("a file");
    fs::write(plain.path().join("a.txt"), "a text").expect("a file");
    support::plugins::folder();
    let config = format!(
        "[services.plain]\nplugin = \"gopher\"\nworkers = 1\nlisten = [\"tcp://127.0.0.1:0\"]\n\
         [services.plain.settings]\nroot = \"{}\"\nidle = \"300ms\"\n",
        plain.path().display()
    );
    let daemon = Daemon::start("gopher-stalled", &config);
    let address = daemon.address("plain", 0);
    let mut stalled = TcpStream::connect(address).expect("it listens");
    stalled.write_all(b"/large.bin\r\n").expect("sent");
    let url = format!("gopher://{address}/0/a.txt");
    let asked = output(
        program("curl", "curl"),
        &["--silent", "--max-time", "20", &url],
    );
    assert_eq!(text(&asked), "a text");
    daemon.wait_for("it to be given up", |status| {
        status["services"]["plain"]["totals"]["closed_idle"] == 1
    });
    drop(stalled);
    daemon.finish(&[]);
}

#[test]
fn a_binary_arrives_whole_whoever_asks() {
    let plain = Directory::new("gopher-binary-plain");
    let mut dice = Dice(0x5EED);
    let content: Vec<u8> = (0..3_000_000).map(|_| dice.below(256) as u8).collect();
    fs::write(plain.path().join("a.bin"), &content).expect("a file");
    let daemon = serve("gopher-binary", plain.path());
    let address = daemon.address("plain", 0);
    // phetch prints what is no text as something else, and w3m asks where to put it, unless it is a picture.
    for (name, arguments) in [
        ("curl", &["--silent", "gopher://ADDRESS/9/a.bin"][..]),
        ("curl", &["--silent", "http://ADDRESS/a.bin"]),
        ("lynx", &["-source", "gopher://ADDRESS/9/a.bin"]),
        ("w3m", &["-dump_source", "gopher://ADDRESS/I/a.bin"]),
        ("Pituophis", &["gopher://ADDRESS/9/a.bin"]),
    ] {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|it| it.replace("ADDRESS", &address.to_string()))
            .collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert!(
            output(client(name), &arguments) == content,
            "{name} {arguments:?}"
        );
    }
    daemon.finish(&[]);
}

#[test]
fn the_hole_shows_the_examples_byte_for_byte() {
    for file in ["smallest.rs", "smallest.c"] {
        let shown = fs::read(format!("../etc/gopher/plugins/{file}")).expect("in the hole");
        let example = fs::read(format!("../plugin-api/examples/{file}")).expect("an example");
        assert!(
            shown == example,
            "etc/gopher/plugins/{file} is not the example"
        );
    }
}

#[test]
fn browsers_follow_the_links_of_the_pages() {
    let plain = Directory::new("gopher-http-plain");
    let daemon = serve("gopher-http", plain.path());
    let address = daemon.address("gopher", 0);
    let get = |path: &str| {
        let url = format!("http://{address}{path}");
        text(&output(
            program("curl", "curl"),
            &["--silent", "--include", "--max-time", "20", &url],
        ))
    };
    let mut seen = vec!["/".to_owned()];
    let mut next = 0;
    while let Some(path) = seen.get(next).cloned() {
        let answer = get(&path);
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n"),
            "{path}: {answer}"
        );
        assert!(!answer.contains("<script"), "{path}");
        if answer.contains("Content-Type: text/html") {
            for link in answer.split("href=\"/").skip(1) {
                let link = format!("/{}", link.split('"').next().unwrap_or_default());
                if !seen.contains(&link) {
                    seen.push(link);
                }
            }
        }
        next += 1;
    }
    assert!(seen.len() >= 6, "the shipped hole has more pages: {seen:?}");
    assert!(get("/missing").starts_with("HTTP/1.1 404 Not Found\r\n"));
    assert!(get("/search?q=shared").contains("href=\"/plugins/idea.txt\""));
    daemon.finish(&[]);
}

#[test]
fn an_answer_is_rendered_as_it_would_be_sent() {
    let plugins = support::plugins::folder();
    let place = Directory::new("gopher-render");
    let root = place.path().join("root");
    fs::create_dir(&root).expect("a folder");
    let large: Vec<u8> = (0..700_000_u32).flat_map(u32::to_le_bytes).collect();
    fs::write(root.join("large.bin"), &large).expect("a file");
    fs::write(root.join("a.txt"), "a text").expect("a file");
    let file = place.path().join("polyport.toml");
    let config = format!(
        "[daemon]\nplugin_dir = {plugins:?}\nrun_dir = {0:?}\nstate_dir = {0:?}\n\
         [services.hole]\nplugin = \"gopher\"\nlisten = [\"tcp://127.0.0.1:0\"]\n\
         [services.hole.settings]\nroot = {root:?}\nhostname = \"h.example\"\nport = 70\n",
        place.path()
    );
    fs::write(&file, config).expect("a file");
    let render = |arguments: &[&str], input: &[u8]| {
        let (said, asked) = (place.path().join("said"), place.path().join("asked"));
        fs::write(&asked, input).expect("a file");
        let mut command = polyport();
        command.arg("render").args(arguments).current_dir(&root);
        // A file, whose length is limited where others only probe.
        command.stdout(fs::File::create(&said).expect("a file"));
        command.stdin(fs::File::open(&asked).expect("a file"));
        let output = command.output().expect("it runs");
        let errors = text(&output.stderr);
        (
            output.status.code(),
            fs::read(said).expect("a file"),
            errors,
        )
    };
    let file = file.to_str().expect("UTF-8");
    let menu = "0a.txt\t/a.txt\th.example\t70\r\n9large.bin\t/large.bin\th.example\t70\r\n.\r\n";
    let page = "GET /a.txt HTTP/1.0\r\n\r\n";
    let alone = ["gopher", "/a.txt", "--set", "root=.", "--config"];
    for (arguments, input, expected) in [
        (&["hole", "-c", file][..], "", menu.as_bytes()),
        (&["hole", "/large.bin", "-c", file], "", &large),
        (&["hole", "/a.txt\t+", "-c", file], "", b"+6\r\na text"),
        (
            &["hole", "--set", "hostname=x", "-c", file, "/a.txt"],
            "",
            b"a text",
        ),
        (&[&alone[..], &[file]].concat(), "", b"a text"),
    ] {
        let (code, said, errors) = render(arguments, input.as_bytes());
        assert!(
            code == Some(0) && said == expected,
            "{arguments:?}: {code:?} {errors}"
        );
    }
    let (code, said, errors) = render(&["hole", "-", "-c", file], page.as_bytes());
    assert_eq!(code, Some(0), "{errors}");
    assert!(text(&said).ends_with("\r\n\r\na text"), "{}", text(&said));
    for (arguments, expected) in [
        (
            &["hole", "--set", "sort=odd", "-c", file][..],
            "settings.sort",
        ),
        (&["gopher", "-c", file], "--set root: is missing"),
        (&["nothing", "-c", file], "nothing"),
    ] {
        let (code, said, errors) = render(arguments, b"");
        assert!(
            code == Some(5) && said.is_empty(),
            "{arguments:?}: {code:?}"
        );
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    }
}

#[test]
fn one_line_serves_a_folder_without_any_configuration() {
    support::plugins::folder();
    let folder = Directory::new("gopher-try");
    fs::write(folder.path().join("hello.txt"), "hello").expect("a file");
    let mut command = polyport();
    command
        .args([
            "try",
            "gopher",
            "--json",
            "--set",
            "root=.",
            "--listen",
            "tcp://127.0.0.1:0",
        ])
        .current_dir(folder.path())
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut line = String::new();
    let mut said = std::io::BufReader::new(child.stdout.take().expect("piped"));
    std::io::BufRead::read_line(&mut said, &mut line).expect("it speaks");
    let url = line
        .split("tcp://")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let printed = url.map(|address| {
        let url = format!("gopher://{address}/0/hello.txt");
        run_to_end({
            let mut curl = program("curl", "curl");
            curl.args(["--silent", "--max-time", "20", &url]);
            curl
        })
    });
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it still runs");
    child.wait().expect("it ends");
    assert_eq!(
        printed.map(|it| it.stdout).as_deref(),
        Some(&b"hello"[..]),
        "{line}"
    );
}
