//! Log lines on stderr. Not started unless asked for, or unless a command stays for a while.

use tracing_subscriber::filter::LevelFilter;

use crate::output::Complaints;

/// Starts to log to stderr: warnings, or more with each `-v`. A second start changes nothing.
pub(crate) fn start(verbosity: u8) {
    let level = match verbosity {
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(|| Complaints).with_ansi(false);
    drop(subscriber.without_time().with_target(false).try_init());
}
