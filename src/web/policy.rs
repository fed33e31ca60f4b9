//! What a page may load, and from where: its Content-Security-Policy (CSP level 3).

/// Where content is downloaded from: the origins of nodes that a page may read. Only what is an origin
/// and nothing else can get in, so that no address a node announces can widen a policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NodeOrigins(Vec<String>);

impl NodeOrigins {
    /// Takes the origins among these addresses, each once.
    pub(super) fn new(bases: impl IntoIterator<Item = String>) -> Self {
        let mut origins: Vec<String> = bases.into_iter().filter(|base| is_origin(base)).collect();
        origins.sort();
        origins.dedup();
        Self(origins)
    }

    /// Whether a page may read from this one.
    pub(super) fn has(&self, base: &str) -> bool {
        self.0.iter().any(|origin| origin == base)
    }
}

/// Whether the text is a `host-source` with a scheme, a host and perhaps a port (CSP3 §2.3.1). An IPv6
/// address is not: the grammar has none, and browsers ignore it.
fn is_origin(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://")) else {
        return false;
    };
    let (host, port) = rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let is_host = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        });
    let is_number = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    is_host && port.is_none_or(is_number)
}

/// The policy of a page that reads from these nodes. Without any, nothing is loaded from elsewhere.
///
/// No code stands in a page, and nobody frames us. WebAssembly is our own hash, which has a permission
/// of its own. What is read from a node is asked for at this site, which sends the reader on: so the
/// places for it hold both.
pub(super) fn policy(nodes: &NodeOrigins) -> String {
    let mut policy = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; \
                      style-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
        .to_owned();
    for directive in ["connect-src", "img-src", "media-src", "frame-src"] {
        // Without nodes, media and frames are left to `default-src`.
        if nodes.0.is_empty() && ["media-src", "frame-src"].contains(&directive) {
            continue;
        }
        policy.push_str(&format!("; {directive} 'self'"));
        for origin in &nodes.0 {
            policy.push(' ');
            policy.push_str(origin);
        }
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origins(bases: &[&str]) -> NodeOrigins {
        NodeOrigins::new(bases.iter().map(|base| (*base).to_owned()))
    }

    #[test]
    fn a_page_without_nodes_loads_nothing_from_elsewhere() {
        let policy = policy(&NodeOrigins::default());
        assert!(!policy.contains("http") && !policy.contains("media-src") && !policy.contains("frame-src"));
        for directive in [
            "default-src 'none'",
            "script-src 'self' 'wasm-unsafe-eval'",
            "connect-src 'self'",
            "img-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ] {
            assert!(policy.split("; ").any(|part| part == directive), "{directive} in {policy}");
        }
    }

    #[test]
    fn nodes_get_in_for_reading_alone() {
        let nodes = origins(&["https://b.example:8443", "http://127.0.0.1:81", "https://b.example:8443"]);
        let policy = policy(&nodes);
        for directive in ["connect-src", "img-src", "media-src", "frame-src"] {
            let wanted = format!("{directive} 'self' http://127.0.0.1:81 https://b.example:8443");
            assert!(policy.split("; ").any(|part| part == wanted), "{wanted} in {policy}");
        }
        assert_eq!(policy.matches("b.example").count(), 4, "{policy}");
        assert!(nodes.has("http://127.0.0.1:81") && !nodes.has("http://127.0.0.1"));
    }

    #[test]
    fn only_an_origin_gets_in() {
        for right in ["http://a", "https://a-b_c.example", "http://127.0.0.1:65535", "https://x.example:1"] {
            assert_eq!(origins(&[right]).0, [right]);
        }
        for wrong in [
            "",
            "*",
            "http:",
            "http://",
            "http://*",
            "https://*.example",
            "http://a/",
            "http://a/b",
            "http://a?b",
            "http://a#b",
            "http://me@a",
            "http://a:",
            "http://a:*",
            "http://a:+1",
            "http://a:65536",
            "http://a:1:2",
            "http://a b",
            "http://a;script-src *",
            "http://a; script-src *",
            "http://a,b",
            "http://a\r\nx: y",
            "http://a.",
            "http://é",
            "http://[::1]:80",
            "ftp://a",
            "data:",
            "'unsafe-inline'",
            "javascript://a",
            "HTTP://A",
        ] {
            assert_eq!(origins(&[wrong]), NodeOrigins::default(), "{wrong:?}");
        }
    }
}
