//! A test once more as root of a namespace of its own: for whoever is not root of the machine, and
//! has to bind a low port, look into a worker that has closed itself in, or change a network.
//!
//! In such a namespace what belongs to the machine's root belongs to nobody, and a plugin below a
//! folder of nobody's is refused, rightly. So it has a root folder of its own: the machine's folders,
//! and this working copy at its own path below folders of whoever runs the test. It is a network of
//! its own as well, with a loopback.
//!
//! Invariant: a test that cannot be played there fails, and says what the machine refuses.

use std::path::{Path, PathBuf};

use super::daemon::Directory;
use super::plugins;
use super::program::program;

const INSIDE: &str = "POLYPORT_TEST_INSIDE_A_NAMESPACE";

/// Root of the machine, or already of a namespace made here.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// This test program is played in one.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Plays one test of this program in a namespace, and fails as it fails.
pub fn play(test: &str) {
    assert!(!is_inside(), "a namespace in a namespace would not help");
    drop(program("ip", "iproute2"));
    plugins::folder();
    let itself = std::env::current_exe().expect("a running program");
    let root = Directory::new(&format!("root-{test}"));
    let output = program("unshare", "util-linux")
        .args(["--user", "--map-root-user", "--net", "--mount"])
        .args(["sh", "-euc", ROOM, "sh"])
        .arg(root.path())
        .args(folders(&itself))
        .arg("--")
        .arg(&itself)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("unshare runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{test} needs root, or a user namespace (is user.max_user_namespaces 0?):\n{said}"
    );
}

/// The working copy, and where this was built: "target" or what stands for it.
fn folders(itself: &Path) -> [PathBuf; 2] {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().expect("the package lies in the workspace");
    let target = itself.ancestors().nth(3);
    let target = target.expect("a test lies in PROFILE/deps of a target folder");
    [workspace.to_owned(), target.to_owned()]
}

/// Gets the new root, the folders, "--", and what to run there. The mounts end with their namespace.
const ROOM: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up
package=$PWD
new=$1
shift
mount -t tmpfs -o mode=755 polyport-test "$new"
folders=
while [ "$1" != -- ]; do
    top=${1#/} top=/${top%%/*}
    folders="$folders $top"
    mkdir -p "$new$1"
    mount --rbind "$1" "$new$1"
    shift
done
shift
for there in /*; do
    case "$folders /tmp /lost+found " in *" $there "*) continue ;; esac
    if [ -L "$there" ]; then
        ln -s "$(readlink "$there")" "$new$there"
    elif [ -d "$there" ]; then
        mkdir "$new$there"
        mount --rbind "$there" "$new$there"
    fi
done
mkdir -p "$new/tmp"
chmod 1777 "$new/tmp"
unset TMPDIR
exec chroot "$new" sh -c 'cd "$0" && exec "$@"' "$package" "$@"
"#;
