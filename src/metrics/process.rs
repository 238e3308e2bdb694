//! The process itself, under the names that Prometheus's client libraries agree on.

use procfs::process::{LimitValue, Process};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

/// Adds what the kernel says of this process; nothing where it says nothing.
pub fn register(registry: &mut Registry) {
    let registry = registry.sub_registry_with_prefix("process");
    let Ok(process) = Process::myself() else {
        return;
    };
    if let Ok(stat) = process.stat() {
        let cpu = ConstCounter::new(seconds(stat.utime + stat.stime));
        let resident = ConstGauge::new(stat.rss * procfs::page_size());
        let mapped = ConstGauge::new(stat.vsize);
        let threads = ConstGauge::new(stat.num_threads);
        registry.register_with_unit("cpu", "Time of the processor", Unit::Seconds, cpu);
        registry.register_with_unit("resident_memory", "Resident", Unit::Bytes, resident);
        registry.register_with_unit("virtual_memory", "Mapped", Unit::Bytes, mapped);
        registry.register("threads", "Threads", threads);
        if let Ok(boot) = procfs::boot_time_secs() {
            let began = ConstGauge::new(boot as f64 + seconds(stat.starttime));
            registry.register_with_unit("start_time", "Since 1970", Unit::Seconds, began);
        }
    }
    if let Ok(open) = process.fd_count() {
        registry.register("open_fds", "Open files", ConstGauge::new(open));
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        registry.register(
            "max_fds",
            "The most that may be open",
            ConstGauge::new(most),
        );
    }
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / procfs::ticks_per_second() as f64
}
