//! The process itself, under the usual names of Prometheus's client libraries.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The positions in `/proc/self/stat` (`proc_pid_stat(5)`), counted from the state, the first field
/// after the name.
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;
const THREADS: usize = 17;
const MAPPED: usize = 20;
const RESIDENT: usize = 21;

/// Adds what the kernel reports about this process, which began at `start`.
pub(super) fn register(registry: &mut Registry, start: SystemTime) {
    let registry = registry.sub_registry_with_prefix("process");
    if let Ok(since) = start.duration_since(UNIX_EPOCH) {
        let began = ConstGauge::new(since.as_secs_f64());
        registry.register_with_unit("start_time", "Since 1970", Unit::Seconds, began);
    }
    if let Ok(stat) = fs::read_to_string("/proc/self/stat") {
        let fields = fields(&stat);
        let field = |index: usize| fields.get(index).copied().unwrap_or_default();
        let ticks = field(USER_TICKS) + field(SYSTEM_TICKS);
        let cpu = ConstCounter::new(ticks as f64 / clock_ticks_per_second() as f64);
        let resident = ConstGauge::new(field(RESIDENT) * page_size() as u64);
        let mapped = ConstGauge::new(field(MAPPED));
        let threads = ConstGauge::new(field(THREADS));
        registry.register_with_unit("cpu", "Time of the processor", Unit::Seconds, cpu);
        registry.register_with_unit("resident_memory", "Resident", Unit::Bytes, resident);
        registry.register_with_unit("virtual_memory", "Mapped", Unit::Bytes, mapped);
        registry.register("threads", "Threads", threads);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        registry.register("open_fds", "Open files", ConstGauge::new(open.count()));
    }
    if let Some(limit) = getrlimit(Resource::Nofile).current {
        registry.register(
            "max_fds",
            "The most that may be open",
            ConstGauge::new(limit),
        );
    }
}

/// Adds what Go's client library has besides (`process_collector_procfsenabled.go`).
pub(super) fn register_rest(registry: &mut Registry) {
    let registry = registry.sub_registry_with_prefix("process");
    let limit = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
    let name = "virtual_memory_max";
    let help = "The most that may be mapped";
    registry.register_with_unit(name, help, Unit::Bytes, ConstGauge::new(limit as f64));
    if let Ok(text) = fs::read_to_string("/proc/self/net/netstat") {
        for (name, field) in [("receive", "InOctets"), ("transmit", "OutOctets")] {
            let bytes = ConstCounter::new(netstat(&text, field));
            let name = format!("network_{name}");
            let help = "Bytes of all processes in this network namespace";
            registry.register_with_unit(name, help, Unit::Bytes, bytes);
        }
    }
}

/// A field of `IpExt`: one line holds the names, the next the numbers.
fn netstat(text: &str, field: &str) -> u64 {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("IpExt: "));
    let (names, numbers) = (lines.next(), lines.next());
    let names = names.unwrap_or_default().split(' ');
    let mut pairs = names.zip(numbers.unwrap_or_default().split(' '));
    let found = pairs.find(|(name, _)| *name == field);
    found
        .and_then(|(_, number)| number.parse().ok())
        .unwrap_or_default()
}

/// The fields after the name, which may contain any character, brackets too.
fn fields(stat: &str) -> Vec<u64> {
    let after_name = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let numbers = after_name
        .split_whitespace()
        .map(|field| field.parse().unwrap_or_default());
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_netstat_is_found_by_its_name() {
        let text = "TcpExt: InOctets\nTcpExt: 7\nIpExt: A InOctets OutOctets\nIpExt: 1 22 333\n";
        assert_eq!(netstat(text, "InOctets"), 22);
        assert_eq!(netstat(text, "OutOctets"), 333);
        assert_eq!(netstat("", "OutOctets"), 0);
    }

    #[test]
    fn a_name_with_brackets_and_spaces_shifts_nothing() {
        let stat = "7 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22";
        let fields = fields(stat);
        assert_eq!((fields[USER_TICKS], fields[RESIDENT]), (11, 21));
    }
}
