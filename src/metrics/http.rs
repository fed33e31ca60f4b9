//! What every server counts of the requests it answers.

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts};

use super::Builder;

/// The classes of status, so that no label has a value that a client can make up.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Seconds: a redirect takes a fraction of the first, an upload of a large file any of the last.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// What a request is for: few, and none of a client's making.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// A page.
    Page,
    /// What programs ask.
    Api,
    /// Bytes come in.
    Upload,
    /// Bytes go out, or somebody is sent to where they do.
    Download,
    /// Servers of the cluster among themselves.
    Cluster,
    /// What pages load.
    Static,
    /// Health, metrics, and addresses at which there is nothing.
    Other,
}

impl RouteClass {
    const ALL: [Self; 7] =
        [Self::Page, Self::Api, Self::Upload, Self::Download, Self::Cluster, Self::Static, Self::Other];

    const fn label(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::Api => "api",
            Self::Upload => "upload",
            Self::Download => "download",
            Self::Cluster => "cluster",
            Self::Static => "static",
            Self::Other => "other",
        }
    }

    /// Of a request to central.
    #[must_use]
    pub fn of_central(method: &str, path: &str) -> Self {
        let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        match (method, first) {
            ("GET" | "HEAD", "d") => Self::Download,
            ("PUT", _) => Self::Upload,
            ("POST", "upload") => Self::Upload,
            ("POST", "api") if path == "/api/v1/files" => Self::Upload,
            (_, "api") if path.starts_with("/api/v1/uploads") => Self::Upload,
            (_, "api") => Self::Api,
            (_, "cluster") => Self::Cluster,
            (_, "static" | "manifest.webmanifest") => Self::Static,
            (_, "" | "files" | "servers" | "help" | "uploaded") => Self::Page,
            _ => Self::Other,
        }
    }

    /// Of a request to a node.
    #[must_use]
    pub fn of_node(method: &str, path: &str) -> Self {
        if path.starts_with("/b/") {
            return Self::Download;
        }
        let Some(call) = path.strip_prefix("/n/v1/") else { return Self::Other };
        let takes_bytes =
            matches!(method, "PUT" | "PATCH") || call.ends_with("/copy") || call.ends_with("/fill");
        if call.starts_with("sessions/") && takes_bytes { Self::Upload } else { Self::Cluster }
    }
}

/// Requests, by what they are for and how they ended. Cloning shares them.
#[derive(Debug, Clone)]
pub struct HttpMetrics {
    /// A counter for each class and status, as finding it by its labels costs more than counting.
    requests: Vec<[IntCounter; 5]>,
    seconds: Vec<Histogram>,
    failed_bodies: IntCounter,
}

impl HttpMetrics {
    /// All of them, at zero.
    pub(super) fn new(build: &Builder) -> Result<Self, prometheus::Error> {
        let requests = build.add(IntCounterVec::new(
            Opts::new(
                "closeby_http_requests_total",
                "Requests that were answered, by route and class of status",
            ),
            &["route", "status"],
        ))?;
        let seconds = HistogramOpts::new(
            "closeby_http_request_seconds",
            "Time from a request's head to its answer's, uploads included",
        );
        let seconds = build.add(HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["route"]))?;
        let failed_bodies = build.counter(
            "closeby_http_failed_bodies_total",
            "Answers that broke off because what was to be sent could not be read",
        )?;
        let classes = RouteClass::ALL.map(RouteClass::label);
        Ok(Self {
            requests: classes
                .iter()
                .map(|class| STATUSES.map(|status| requests.with_label_values(&[*class, status])))
                .collect(),
            seconds: classes.iter().map(|class| seconds.with_label_values(&[*class])).collect(),
            failed_bodies,
        })
    }

    /// A request was answered with this status after so many seconds.
    pub fn answered(&self, class: RouteClass, status: u16, seconds: f64) {
        // Both are made from `ALL`, in its order.
        let at = class as usize;
        if let (Some(requests), Some(histogram)) = (self.requests.get(at), self.seconds.get(at)) {
            requests[usize::from((status / 100).clamp(1, 5)) - 1].inc();
            histogram.observe(seconds);
        }
    }

    /// An answer broke off in its middle.
    pub fn body_failed(&self) {
        self.failed_bodies.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_stands_where_it_is_counted() {
        for (at, class) in RouteClass::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, at, "{}", class.label());
        }
    }

    #[test]
    fn a_request_is_of_one_class_whatever_its_path() {
        for (method, path, class) in [
            ("GET", "/d/abc/name", RouteClass::Download),
            ("HEAD", "/d/abc", RouteClass::Download),
            ("GET", "/", RouteClass::Page),
            ("GET", "/files/abc", RouteClass::Page),
            ("POST", "/upload", RouteClass::Upload),
            ("PUT", "/d/x", RouteClass::Upload),
            ("POST", "/api/v1/files", RouteClass::Upload),
            ("GET", "/api/v1/files", RouteClass::Api),
            ("PATCH", "/api/v1/uploads/1", RouteClass::Upload),
            ("POST", "/api/v1/precheck", RouteClass::Api),
            ("POST", "/cluster/v1/heartbeat", RouteClass::Cluster),
            ("GET", "/static/1/upload.js", RouteClass::Static),
            ("GET", "/metrics", RouteClass::Other),
            ("GET", "/wp-login.php", RouteClass::Other),
        ] {
            assert_eq!(RouteClass::of_central(method, path), class, "{method} {path}");
        }
        for (method, path, class) in [
            ("GET", "/b/abc/name", RouteClass::Download),
            ("PUT", "/n/v1/sessions/1", RouteClass::Upload),
            ("POST", "/n/v1/sessions/1/copy", RouteClass::Upload),
            ("POST", "/n/v1/sessions/1/finish", RouteClass::Cluster),
            ("GET", "/n/v1/status", RouteClass::Cluster),
            ("GET", "/healthz", RouteClass::Other),
        ] {
            assert_eq!(RouteClass::of_node(method, path), class, "{method} {path}");
        }
    }
}
