//! A daemon's `/metrics`, as Prometheus reads it.

use std::collections::BTreeSet;

use prometheus_parse::{Sample, Scrape, Value};

use super::daemon::Daemon;
use super::http;

/// What `OpenMetrics` is asked for with.
pub const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";

/// One scrape.
pub struct Metrics {
    /// As it came.
    pub text: String,
    samples: Vec<Sample>,
}

impl Metrics {
    /// Scrapes in Prometheus's own format.
    pub async fn of(daemon: &Daemon) -> Self {
        let (status, text) = daemon.admin("/metrics").await;
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().map(|line| Ok(line.to_owned()));
        let scrape = Scrape::parse(lines).expect("Prometheus can read it");
        Self {
            samples: scrape.samples,
            text,
        }
    }

    /// The value of a counter or gauge whose labels include these; 0 where there is none.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels);
        found.map_or(0.0, |sample| match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            other => panic!("{name} is no number but {other:?}"),
        })
    }

    /// How many values a histogram has.
    pub fn observed(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(&format!("{name}_count"), labels)
    }

    /// How many values of a histogram are at most this, which has to be one of its bounds.
    pub fn at_most(&self, name: &str, labels: &[(&str, &str)], bound: f64) -> f64 {
        let found = self.find(name, labels);
        found.map_or(0.0, |sample| match &sample.value {
            Value::Histogram(counts) => {
                let within = counts.iter().find(|count| count.less_than == bound);
                within.expect("it is a bound").count
            }
            other => panic!("{name} is no histogram but {other:?}"),
        })
    }

    /// A label of the first sample of this name.
    pub fn label(&self, name: &str, label: &str) -> Option<String> {
        let sample = self.find(name, &[])?;
        sample.labels.get(label).map(str::to_owned)
    }

    /// The names of all samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples
            .iter()
            .map(|sample| sample.metric.as_str())
            .collect()
    }

    /// Lines that hold a value, as Prometheus counts series.
    pub fn series(&self) -> usize {
        let values = |line: &&str| !line.is_empty() && !line.starts_with('#');
        self.text.lines().filter(values).count()
    }

    /// The sample with this name and these labels.
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&Sample> {
        self.samples.iter().find(|sample| {
            let has = |&(label, value): &(&str, &str)| sample.labels.get(label) == Some(value);
            sample.metric == name && labels.iter().all(has)
        })
    }
}

/// The same in `OpenMetrics`.
pub async fn open_metrics(daemon: &Daemon) -> String {
    let url = format!("http://{}/metrics", daemon.admin_address());
    let answer = http::client(None)
        .get(url)
        .header("accept", OPEN_METRICS)
        .send()
        .await;
    let answer = answer.expect("the probes are served");
    let kind = answer.headers()["content-type"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    answer.text().await.expect("a text")
}
