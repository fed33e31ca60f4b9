#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A folder with a configuration file in it.
struct Setting {
    folder: tempfile::TempDir,
}

impl Setting {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("closeby.toml");
        fs::write(&path, text).unwrap();
        path
    }

    /// The variables that every role needs, and these.
    fn variables(&self, more: &[(&str, &str)]) -> Vec<(String, String)> {
        let data = self.data();
        let mut all = vec![
            ("PATH", "/bin"),
            ("CLOSEBY_DATA", data.to_str().unwrap()),
            ("CLOSEBY_PUBLIC_URL", "https://files.example"),
            ("CLOSEBY_PLACE", "New York"),
        ];
        all.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
        all.extend(more);
        all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    fn central(&self, file: &str, more: &[(&str, &str)]) -> Result<CentralConfig, ConfigError> {
        CentralConfig::load(Some(&self.file(file)), self.variables(more), CentralFlags::default())
    }

    fn node(&self, file: &str, more: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
        let variables = [
            self.variables(more),
            vec![("CLOSEBY_CENTRAL_URL".to_owned(), "http://central:8080".to_owned())],
        ];
        NodeConfig::load(Some(&self.file(file)), variables.concat(), NodeFlags::default())
    }
}

#[test]
fn little_is_needed_and_the_rest_has_defaults() {
    let setting = Setting::new();
    let config = setting.central("", &[]).unwrap();
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.public_url.as_str(), "https://files.example/");
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.client_address_headers, [HeaderKind::XForwardedFor]);
    assert!(config.trusted_proxies.is_empty());
    assert_eq!(config.networks.len(), 6);
    let is_near = |address: &str| {
        let address: std::net::IpAddr = address.parse().unwrap();
        config.networks.iter().any(|network| network.contains(&address))
    };
    assert!(
        ["127.9.9.9", "::1", "10.1.2.3", "172.31.0.1", "192.168.7.7", "fd00::1"].into_iter().all(is_near)
    );
    assert!(!["169.254.169.254", "fe80::1", "172.32.0.1", "8.8.8.8"].into_iter().any(is_near));

    let node = setting.node(&format!("cluster.join_secret = '{SECRET}'"), &[]).unwrap();
    assert_eq!(node.failure_domain, node.place.name);
    assert_eq!(node.limits, NodeLimits::default());
    assert_eq!(node.listen.to_string(), "127.0.0.1:8081");
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let setting = Setting::new();
    let file = setting.file(
        "listen = '127.0.0.1:1'\ngeoip = '/file'\ntrusted_proxies = ['10.0.0.1']\n[limits]\nuploads = 1\nfile_bytes = 1\n",
    );
    let variables = setting.variables(&[("CLOSEBY_LISTEN", "127.0.0.1:2"), ("CLOSEBY_LIMITS__UPLOADS", "2")]);
    let flags = CentralFlags {
        listen: Some("127.0.0.1:3".to_owned()),
        place: Some("toronto".to_owned()),
        ..CentralFlags::default()
    };
    let config = CentralConfig::load(Some(&file), variables, flags).unwrap();
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.limits.uploads, 2);
    assert_eq!(config.limits.file_bytes, 1);
    assert_eq!(config.geoip.as_deref(), Some(Path::new("/file")));
    assert_eq!(config.trusted_proxies, ["10.0.0.1/32".parse().unwrap()]);
    assert_eq!(config.place, Place::city("toronto").unwrap());
}

#[test]
fn tls_is_whole_or_not_at_all() {
    let setting = Setting::new();
    let whole = "[tls]\nlisten = '0.0.0.0:443'\ncertificate_file = '/c.pem'\nkey_file = '/k.pem'\n";
    let tls = setting.central(whole, &[]).unwrap().tls.unwrap();
    assert_eq!((tls.listen.port(), tls.redirect, tls.hsts), (443, true, None));
    let variables = [("CLOSEBY_TLS__REDIRECT", "false"), ("CLOSEBY_TLS__HSTS_SECONDS", "60")];
    let tls = setting.central(whole, &variables).unwrap().tls.unwrap();
    assert_eq!((tls.redirect, tls.hsts), (false, Some(Duration::from_secs(60))));
    assert_eq!(setting.central("", &[]).unwrap().tls, None);
    for line in ["listen = '0.0.0.0:443'", "certificate_file = '/c.pem'", "key_file = '/k.pem'"] {
        let error = setting.central(&whole.replace(line, ""), &[]).unwrap_err();
        assert!(error.to_string().contains("go together"), "{error}");
    }
    assert!(setting.central("[tls]\nhsts_seconds = 5\n", &[]).is_err());
    let error = setting.central(whole, &[("CLOSEBY_PUBLIC_URL", "http://files.example")]).unwrap_err();
    assert!(error.to_string().contains("https"), "{error}");
}

#[test]
fn every_key_can_be_set_in_the_environment() {
    let setting = Setting::new();
    let config = setting
        .central(
            "",
            &[
                ("CLOSEBY_LISTEN", "[::1]:9"),
                ("CLOSEBY_CLUSTER__JOIN_SECRET", SECRET),
                ("CLOSEBY_CLUSTER__SIGNING_ROOT", SECRET),
                ("CLOSEBY_CLUSTER__NETWORKS", "10.0.0.0/8, fd00::/8"),
                ("CLOSEBY_GEOIP", "/geo.mmdb"),
                ("CLOSEBY_TRUSTED_PROXIES", ""),
                ("CLOSEBY_CLIENT_ADDRESS_HEADERS", "Forwarded,x-forwarded-for"),
                ("CLOSEBY_NODE_OUT_AFTER_SECONDS", "7"),
                ("CLOSEBY_LIMITS__FILE_BYTES", "11"),
                ("CLOSEBY_LIMITS__UPLOADS", "12"),
                ("CLOSEBY_LIMITS__UPLOADS_PER_ADDRESS", "13"),
                ("CLOSEBY_LIMITS__STALLED_BYTES_PER_SECOND", "0"),
                ("CLOSEBY_LIMITS__STALLED_AFTER_SECONDS", "15"),
                ("CLOSEBY_LIMITS__NODE_STALLED_AFTER_SECONDS", "16"),
                ("CLOSEBY_LIMITS__UPLOAD_LIFE_SECONDS", "23"),
                ("CLOSEBY_LIMITS__UNFINISHED_UPLOADS", "24"),
                ("CLOSEBY_LIMITS__PRECHECK_FILES", "17"),
                ("CLOSEBY_LIMITS__UPLOAD_FILES", "18"),
                ("CLOSEBY_LIMITS__LIST_FILES", "19"),
                ("CLOSEBY_LIMITS__LIST_FILES_MAX", "20"),
                ("CLOSEBY_LIMITS__LINK_LIFE_SECONDS", "21"),
                ("CLOSEBY_LIMITS__LINK_STEP_SECONDS", "22"),
            ],
        )
        .unwrap();
    assert_eq!(
        config.limits,
        Limits {
            file_bytes: 11,
            uploads: 12,
            uploads_per_address: 13,
            stalled_bytes_per_second: 0,
            stalled_after: Duration::from_secs(15),
            node_stalled_after: Duration::from_secs(16),
            upload_life: Duration::from_secs(23),
            unfinished_uploads: 24,
            precheck_files: 17,
            upload_files: 18,
            list_files: 19,
            list_files_max: 20,
            link_life: Duration::from_secs(21),
            link_step: Duration::from_secs(22),
        }
    );
    assert_eq!(config.networks.len(), 2);
    assert_eq!(config.client_address_headers, [HeaderKind::Forwarded, HeaderKind::XForwardedFor]);
    assert!(!setting.data().exists(), "nothing was made, as both secrets were given");

    let config = setting
        .node(
            "",
            &[
                ("CLOSEBY_CLUSTER__JOIN_SECRET", SECRET),
                ("CLOSEBY_FAILURE_DOMAIN", "12345"),
                ("CLOSEBY_INTERNAL_ADDRESS", "10.0.0.5"),
                ("CLOSEBY_RESERVE_BYTES", "0"),
                ("CLOSEBY_PLACE__NAME", "Lima"),
                ("CLOSEBY_PLACE__LAT", "-12.05"),
                ("CLOSEBY_PLACE__LON", "-77"),
                ("CLOSEBY_PLACE__COUNTRY", "pe"),
                ("CLOSEBY_LIMITS__SESSIONS", "1"),
                ("CLOSEBY_LIMITS__DOWNLOADS", "2"),
                ("CLOSEBY_LIMITS__DOWNLOAD_STALLED_AFTER_SECONDS", "3"),
                ("CLOSEBY_LIMITS__ASK_AFTER_SECONDS", "4"),
            ],
        )
        .unwrap();
    assert_eq!(config.place, Place::new("Lima", Some("PE"), -12.05, -77.0).unwrap());
    assert_eq!(config.failure_domain.as_str(), "12345");
    assert_eq!(config.reserve_bytes, 0);
    assert_eq!((config.limits.sessions, config.limits.downloads), (1, 2));
}

#[test]
fn unknown_keys_are_named() {
    let setting = Setting::new();
    for (file, name) in [
        ("lisen = 1", "`lisen`"),
        ("[limits]\nfile_byte = 1", "`file_byte`"),
        ("[cluster]\njoin_secrt = 1", "`join_secrt`"),
        ("place = { name = 'x', latitude = 1 }", "`latitude`"),
        ("[surplus]\nx = 1", "`surplus`"),
        ("central_url = 'http://x'", "`central_url`"),
    ] {
        let error = setting.central(file, &[]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
        assert!(error.contains("closeby.toml, line"), "{error}");
    }
    for name in [
        "CLOSEBY_LISEN",
        "CLOSEBY_LIMITS__FILE_BYTE",
        "CLOSEBY_LIMITS_FILE_BYTES",
        "CLOSEBY_CENTRAL_URL",
        "CLOSEBY_LISTEN__X",
        "CLOSEBY_LIMITS",
        "CLOSEBY_",
        "CLOSEBY_PLACE__LATITUDE",
    ] {
        let error = setting.central("", &[(name, "1")]).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    assert!(setting.node("signing_root = 1", &[]).is_err());
    let others = [("CLOSEBY_SERVER", "x"), ("CLOSEBY_TOKEN", "x"), ("CLOSEBY_LOG", "info"), ("OTHER", "1")];
    setting.central("", &others).unwrap();
}

#[test]
fn wrong_values_are_named_and_never_shown() {
    let setting = Setting::new();
    for (file, place) in [
        ("\n[limits]\nuploads = 'hunter2hunter2'", "line 3"),
        ("[cluster]\njoin_secret = 4711471147114711", "line 2"),
        ("[cluster]\njoin_secret = 'hunter2hunter2", "line 2"),
        ("[cluster]\njoin_secret = hunter2hunter2", "line 2"),
        ("cluster = 'hunter2hunter2'", "line 1"),
        ("cluster = ['hunter2hunter2']", "line 1"),
        ("[limits]\nuploads = -1", "whole number"),
        ("[cluster]\njoin_secret = 'hunter2hunter2'", "cluster.join_secret"),
    ] {
        let error = setting.central(file, &[]).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("4711"), "{error}");
    }
    for (name, value) in [
        ("CLOSEBY_LIMITS__UPLOADS", "hunter2"),
        ("CLOSEBY_LIMITS__UPLOADS", "-1"),
        ("CLOSEBY_CLUSTER", "hunter2"),
        ("CLOSEBY_PLACE__LAT", "hunter2"),
    ] {
        let error = setting.central("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn values_that_cannot_be_are_refused_by_key() {
    let setting = Setting::new();
    for (name, value, key) in [
        ("CLOSEBY_LISTEN", "localhost", "`listen`"),
        ("CLOSEBY_DATA", "", "`data`"),
        ("CLOSEBY_GEOIP", "", "`geoip`"),
        ("CLOSEBY_PUBLIC_URL", "ftp://files.example", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "files.example", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "https://files.example/x", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "https://files.example/?x", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "https://files.example/#x", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "https://me@files.example/", "`public_url`"),
        ("CLOSEBY_PUBLIC_URL", "http://0.0.0.0:80/", "`public_url`"),
        ("CLOSEBY_CLUSTER__NETWORKS", "10.0.0.0/33", "`cluster.networks`"),
        ("CLOSEBY_CLUSTER__NETWORKS", "169.254.0.0/16", "`cluster.networks`"),
        ("CLOSEBY_CLUSTER__NETWORKS", "fe80::/64", "`cluster.networks`"),
        ("CLOSEBY_TRUSTED_PROXIES", "proxy", "`trusted_proxies`"),
        ("CLOSEBY_CLIENT_ADDRESS_HEADERS", "via", "`client_address_headers`"),
        ("CLOSEBY_PLACE", "Atlantis", "`place`"),
        ("CLOSEBY_PLACE__LAT", "1", "`place`"),
        ("CLOSEBY_PLACE__COUNTRY", "NL", "`place`"),
        ("CLOSEBY_ACCESS__UPLOAD", "everybody", "`access.upload`"),
        ("CLOSEBY_ACCESS__LIST", "Anyone", "`access.list`"),
        ("CLOSEBY_ACCESS__READ", "", "`access.read`"),
        ("CLOSEBY_ACCESS__EXPLAIN", "admin", "`access.explain`"),
        ("CLOSEBY_LIMITS__FILE_BYTES", "0", "`limits.file_bytes`"),
        ("CLOSEBY_LIMITS__UPLOADS", "0", "`limits.uploads`"),
        ("CLOSEBY_LIMITS__STALLED_AFTER_SECONDS", "0", "`limits.stalled_after_seconds`"),
        ("CLOSEBY_LIMITS__LINK_STEP_SECONDS", "9999999999", "`limits.link_step_seconds`"),
        ("CLOSEBY_LIMITS__LIST_FILES", "1001", "`limits.list_files`"),
    ] {
        let error = setting.central("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(key), "{name}={value}: {error}");
    }
    for (name, value, key) in [
        ("CLOSEBY_INTERNAL_ADDRESS", "169.254.169.254", "`internal_address`"),
        ("CLOSEBY_INTERNAL_ADDRESS", "0.0.0.0", "`internal_address`"),
        ("CLOSEBY_INTERNAL_ADDRESS", "10.0.0.5:80", "`internal_address`"),
        ("CLOSEBY_FAILURE_DOMAIN", "<b>", "`failure_domain`"),
        ("CLOSEBY_LIMITS__SESSIONS", "0", "`limits.sessions`"),
    ] {
        let error = setting.node("", &[(name, value)]).unwrap_err().to_string();
        assert!(error.contains(key), "{name}={value}: {error}");
    }
    assert!(!setting.data().exists(), "secrets are made only when all else is right");
}

#[test]
fn a_database_of_private_addresses_is_one_that_is_given() {
    let setting = Setting::new();
    let error = setting.central("geoip_private = true", &[]).unwrap_err().to_string();
    assert!(error.contains("`geoip_private`") && error.contains("`geoip`"), "{error}");
    let variables = [("CLOSEBY_GEOIP", "/own.mmdb"), ("CLOSEBY_GEOIP_PRIVATE", "true")];
    assert!(setting.central("", &variables).unwrap().geoip_private);
    assert!(!setting.central("geoip = '/own.mmdb'", &[]).unwrap().geoip_private);
    let error = setting.central("", &[("CLOSEBY_GEOIP_PRIVATE", "perhaps")]).unwrap_err().to_string();
    assert!(error.contains("CLOSEBY_GEOIP_PRIVATE") && error.contains("true or false"), "{error}");
}

#[test]
fn what_is_required_says_how_to_give_it() {
    let missing = |variables: &[(&str, &str)]| {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        CentralConfig::load(None, variables, CentralFlags::default()).unwrap_err().to_string()
    };
    assert!(missing(&[]).contains("--data"));
    let error = missing(&[("CLOSEBY_DATA", "/nowhere")]);
    assert!(error.contains("--public-url") && error.contains("CLOSEBY_PUBLIC_URL"), "{error}");
    let error = missing(&[("CLOSEBY_DATA", "/nowhere"), ("CLOSEBY_PUBLIC_URL", "http://x")]);
    assert!(error.contains("place = "), "{error}");
}

#[test]
fn a_bare_place_replaces_a_whole_one() {
    let setting = Setting::new();
    let file = "place = { name = 'Lima', lat = -12.05, lon = -77.04, country = 'PE' }";
    assert_eq!(setting.central(file, &[]).unwrap().place, Place::city("new york").unwrap());
    let flags = CentralFlags { place: Some("toronto".to_owned()), ..CentralFlags::default() };
    let variables = setting.variables(&[("CLOSEBY_PLACE__LAT", "1"), ("CLOSEBY_PLACE__LON", "1")]);
    let config = CentralConfig::load(Some(&setting.file(file)), variables, flags).unwrap();
    assert_eq!(config.place, Place::city("toronto").unwrap());
}

#[test]
fn a_central_makes_its_secrets_once() {
    let setting = Setting::new();
    let first = setting.central("", &[]).unwrap();
    let read = |name: &str| fs::read_to_string(setting.data().join(name)).unwrap();
    let (root, join) = (read("signing-root"), read("join-secret"));
    assert!(root.trim().len() == 64 && join.trim().len() == 64 && root != join);
    for name in ["signing-root", "join-secret"] {
        let mode = fs::metadata(setting.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert_eq!(fs::read_dir(setting.data()).unwrap().count(), 2, "no temporary file is left");
    setting.central("", &[]).unwrap();
    assert_eq!((read("signing-root"), read("join-secret")), (root.clone(), join));
    assert!(!format!("{first:?}").contains(root.trim()));
}

#[test]
fn a_lost_signing_root_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    kept_signing_root(folder.path()).unwrap();
    std::fs::write(folder.path().join(LEDGER_FILE), "").unwrap();
    kept_signing_root(folder.path()).unwrap();
    std::fs::remove_file(folder.path().join("signing-root")).unwrap();
    let error = kept_signing_root(folder.path()).unwrap_err().to_string();
    assert!(error.contains("cluster.signing_root") && error.contains("backup"), "{error}");
    assert!(!folder.path().join("signing-root").exists());
}

#[test]
fn a_damaged_secret_is_not_replaced() {
    let setting = Setting::new();
    fs::create_dir_all(setting.data()).unwrap();
    fs::write(setting.data().join("signing-root"), "short").unwrap();
    let error = setting.central("", &[]).unwrap_err().to_string();
    assert!(error.contains("cluster.signing_root") && !error.contains("short"), "{error}");
    fs::write(setting.data().join("signing-root"), "x".repeat(5000)).unwrap();
    assert!(matches!(setting.central("", &[]).unwrap_err(), ConfigError::Read { .. }));
}

#[test]
fn a_secret_comes_from_one_source() {
    let setting = Setting::new();
    let path = setting.folder.path().join("secret");
    fs::write(&path, format!("{SECRET}\n")).unwrap();
    let path = path.to_str().unwrap();
    setting
        .central(
            &format!("cluster.join_secret_file = '{path}'"),
            &[("CLOSEBY_CLUSTER__SIGNING_ROOT_FILE", path)],
        )
        .unwrap();
    let error = setting
        .central(&format!("cluster.join_secret_file = '{path}'"), &[("CLOSEBY_CLUSTER__JOIN_SECRET", SECRET)])
        .unwrap_err()
        .to_string();
    assert!(error.contains("both") && !error.contains(SECRET), "{error}");
    let error = setting.central("cluster.join_secret_file = '/nowhere/x'", &[]).unwrap_err().to_string();
    assert!(error.contains("/nowhere/x"), "{error}");
}

#[test]
fn a_node_needs_centrals_join_secret() {
    let setting = Setting::new();
    let error = setting.node("", &[]).unwrap_err().to_string();
    assert!(error.contains("join-secret") && error.contains("cluster.join_secret_file"), "{error}");
    assert!(!setting.data().exists());
    fs::create_dir_all(setting.data()).unwrap();
    fs::write(setting.data().join("join-secret"), SECRET).unwrap();
    setting.node("", &[]).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = CentralConfig::load(Some(Path::new("/nowhere/c.toml")), [], CentralFlags::default());
    assert!(error.unwrap_err().to_string().contains("/nowhere/c.toml"));
}

#[test]
fn looking_at_a_configuration_makes_nothing_and_shows_no_secret() {
    let setting = Setting::new();
    let data = setting.data();
    let file = setting.file(&documented("central"));
    let variables = || setting.variables(&[]);
    let look = || CentralConfig::examine(Some(&file), variables(), CentralFlags::default());
    look().unwrap();
    assert!(!data.join("join-secret").exists() && !data.join("signing-root").exists());
    CentralConfig::load(Some(&file), variables(), CentralFlags::default()).unwrap();
    let shown = look().unwrap().shown();
    for secret in ["join-secret", "signing-root"] {
        let secret = fs::read_to_string(data.join(secret)).unwrap();
        assert!(!shown.contains(secret.trim()), "{shown}");
    }
    fs::write(data.join("join-secret"), "short").unwrap();
    assert!(look().unwrap_err().to_string().contains("damaged"), "it reads what is there");
    fs::remove_file(data.join("join-secret")).unwrap();
    fs::write(data.join(LEDGER_FILE), "").unwrap();
    fs::remove_file(data.join("signing-root")).unwrap();
    assert!(look().unwrap_err().to_string().contains("signing_root"), "a start would not go on either");
}

#[test]
fn what_is_shown_is_every_key_and_can_be_read_again() {
    let setting = Setting::new();
    let secret = setting.folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let hidden =
        |text: &str| text.lines().filter(|line| !line.contains("(hidden)")).collect::<Vec<_>>().join("\n");
    let given = format!(
        "geoip = '/own.mmdb'\ngeoip_private = true\ntrusted_proxies = ['10.0.0.1']\n\
         place = {{ name = 'Oslo', country = 'NO', lat = 59.91, lon = 10.75 }}\n[limits]\nuploads = 7\n\
         [cluster]\njoin_secret_file = {secret:?}\n"
    );
    let variables = || {
        let all = setting.variables(&[]).into_iter();
        all.filter(|(name, _)| name != "CLOSEBY_PLACE").collect::<Vec<_>>()
    };
    let load = |text: &str| {
        let file = setting.file(text);
        CentralConfig::load(Some(&file), variables(), CentralFlags::default()).unwrap().shown()
    };
    let shown = load(&given);
    assert_eq!(load(&hidden(&shown)), shown);
    assert!(shown.contains("Oslo") && shown.contains("uploads = 7") && shown.contains("(hidden)"), "{shown}");
    assert_every_key_is_in(&shown, "central");

    let text = documented("node").replace("/etc/closeby/join-secret", secret.to_str().unwrap());
    let shown = setting.node(&text, &[("CLOSEBY_INTERNAL_ADDRESS", "10.0.0.9")]).unwrap().shown();
    assert!(shown.contains("internal_address = \"10.0.0.9\"") && !shown.contains(SECRET), "{shown}");
    assert_every_key_is_in(&shown, "node");
}

/// Every key of a role's block in the documentation.
fn assert_every_key_is_in(shown: &str, role: &str) {
    let documented = documented(role);
    let keys = documented.lines().filter_map(|line| line.split_once(" = ").map(|(key, _)| key));
    let missing: Vec<&str> =
        keys.filter(|key| *key != "place" && !shown.contains(key.trim_end_matches("_file"))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The block of a role in the documentation.
fn documented(role: &str) -> String {
    let text = include_str!("../../docs/configuration.md");
    let (_, rest) = text.split_once(&format!("```toml {role}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_documentation_names_every_key_with_its_default() {
    let setting = Setting::new();
    let given = setting.central(&documented("central"), &[]).unwrap();
    let without = setting.central("", &[]).unwrap();
    assert_eq!(given.limits, without.limits);
    assert_eq!((given.listen, given.networks), (without.listen, without.networks));
    assert_eq!(given.access, without.access);
    assert_eq!(given.client_address_headers, without.client_address_headers);
    assert_eq!(given.node_out_after, without.node_out_after);

    let secret = setting.folder.path().join("secret");
    fs::write(&secret, SECRET).unwrap();
    let text = documented("node").replace("/etc/closeby/join-secret", secret.to_str().unwrap());
    let given = setting.node(&text, &[]).unwrap();
    let secret = format!("cluster.join_secret = {SECRET:?}");
    let without = setting.node(&secret, &[]).unwrap();
    assert_eq!(given.limits, without.limits);
    assert_eq!((given.listen, given.reserve_bytes), (without.listen, without.reserve_bytes));

    // What the reader of the file knows, and the tables name.
    let text = include_str!("../../docs/configuration.md");
    let source = include_str!("raw.rs");
    let keys = source.lines().filter_map(|line| {
        let (key, kind) = line.strip_prefix("        ")?.split_once(": ")?;
        (kind.starts_with("Option<") && kind.ends_with(">,")).then_some(key)
    });
    let missing: Vec<&str> = keys.filter(|key| !text.contains(key)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
