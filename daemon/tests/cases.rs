//! Every case in `tests/cases`, one test each. `cargo test --test cases NAME` plays one.

mod support;

macro_rules! cases {
    ($($name:ident)*) => {
        const LISTED: &[&str] = &[$(stringify!($name)),*];
        $(
            #[test]
            fn $name() {
                support::script::play(stringify!($name));
            }
        )*
    };
}

cases! {
    access_lists
    access_proxy
    access_proxy_late
    access_proxy_limits
    access_sensor
    access_times
    access_veto
    bans
    bans_file_bad
    limits_bandwidth
    log_closes
    log_slow_callback
    limits_descriptors
    limits_handler_unused
    limits_lifetime
    limits_loopback
    limits_pending
    limits_per_source
    limits_per_source_crash
    limits_progress
    limits_rate
    limits_stall
    blocking_example
    blocking_example_c
    blocking_busy
    blocking_drain
    blocking_drain_over
    blocking_faults
    blocking_limits
    blocking_half_close
    blocking_stays
    blocking_ban
    blocking_bandwidth
    blocking_hang
    blocking_lifetime_alone
    blocking_patience
    blocking_pending
    blocking_proxy
    blocking_crash
    work
    work_faults
    echo_line
    echo_once
    echo_stream
    echo_who
    half_close_large
    idle_peer
    limits_connections
    listen_dual_stack
    listen_option_refused
    listen_several
    listen_unspoken
    peer_resets
    services_side_by_side
    socket_options
    stop_drains
    stop_fast
    stop_second_signal
    start_config_bad
    start_config_duplicate
    start_address_absent
    start_plugin_missing
    unix_credentials
    unix_echo
    unix_folder_missing
    unix_live
    unix_owner
    unix_rate
    unix_stale
    unix_times
    verbs_connections
    verbs_look
    metrics_plugin
    worker_crash_replaced
    worker_killed_alone
}

#[test]
fn every_case_file_is_listed() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let entries = std::fs::read_dir(folder).expect("the folder of cases");
    let mut files: Vec<String> = entries
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    files.sort();
    let mut listed: Vec<String> = LISTED.iter().map(|name| (*name).to_owned()).collect();
    listed.sort();
    assert_eq!(files, listed);
}
