//! Which addresses may be connected to: every special range at its edges, in every form that hides an IPv4
//! address, in the spellings that URLs allow, and behind a name.
//!
//! Why: a webhook's URL is written by strangers, and one address let through opens the house network. The
//! expectations come from a list of blocks (IANA special-purpose registries), not from the code's own ranges.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use peakpost::provider::Request;
use peakpost::provider::wire::guard::{Guard, is_public};
use peakpost::provider::wire::{Wire, WireConfig, WireError};
use reqwest::header::HeaderMap;
use url::{Host, Url};

/// IPv4 blocks that are not the internet's.
const BLOCKS_V4: &[(&str, u32, &str)] = &[
    ("0.0.0.0", 8, "this network"),
    ("10.0.0.0", 8, "private"),
    ("100.64.0.0", 10, "carrier NAT"),
    ("127.0.0.0", 8, "loopback"),
    ("169.254.0.0", 16, "link-local, cloud metadata"),
    ("172.16.0.0", 12, "private"),
    ("192.0.0.0", 24, "protocol assignments"),
    ("192.0.2.0", 24, "documentation"),
    ("192.88.99.0", 24, "6to4 relays"),
    ("192.168.0.0", 16, "private"),
    ("198.18.0.0", 15, "benchmarks"),
    ("198.51.100.0", 24, "documentation"),
    ("203.0.113.0", 24, "documentation"),
    ("224.0.0.0", 4, "multicast"),
    ("240.0.0.0", 4, "reserved, broadcast"),
];

/// IPv6 blocks within global unicast (`2000::/3`) that are not the internet's.
const BLOCKS_V6: &[(&str, u32, &str)] = &[
    ("2001::", 23, "Teredo and protocol assignments"),
    ("2001:db8::", 32, "documentation"),
    ("3fff::", 20, "documentation"),
];

/// Addresses of note, and whether they may be reached.
const KNOWN: &[(&str, bool, &str)] = &[
    ("1.1.1.1", true, "a public resolver"),
    ("8.8.8.8", true, "a public resolver"),
    ("93.184.216.34", true, "a public web server"),
    ("192.0.1.1", true, "between two special blocks"),
    ("223.255.255.255", true, "the last unicast address"),
    ("169.254.169.254", false, "cloud metadata"),
    ("169.254.170.2", false, "container credentials"),
    ("100.100.100.200", false, "cloud metadata behind carrier NAT"),
    ("192.0.0.192", false, "cloud metadata among protocol assignments"),
    ("255.255.255.255", false, "broadcast"),
    ("2606:4700:4700::1111", true, "a public resolver"),
    ("2001:4860:4860::8888", true, "a public resolver"),
    ("2a00:1450:4001:800::200e", true, "a public web server"),
    ("2c0f:ffff::1", true, "global unicast"),
    ("::", false, "unspecified"),
    ("::1", false, "loopback"),
    ("::2", false, "compatible form of 0.0.0.2"),
    ("100::1", false, "discard"),
    ("64:ff9b:1::1", false, "local-use NAT64"),
    ("64:ff9b:1:ffff:ffff:ffff:808:808", false, "local-use NAT64"),
    ("64:ff9b:0:1::808:808", false, "beside the NAT64 prefix"),
    ("::ffff:0:8.8.8.8", false, "stateless translation"),
    ("::fffe:8.8.8.8", false, "beside the mapped prefix"),
    ("1:ffff::808:808", false, "beside the mapped prefix"),
    ("1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, "below global unicast"),
    ("2000::", true, "the first of global unicast"),
    ("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true, "the last of global unicast"),
    ("4000::", false, "above global unicast"),
    ("5f00::1", false, "segment routing"),
    ("fc00::", false, "unique local, first"),
    ("fd00:ec2::254", false, "cloud metadata"),
    ("fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, "unique local, last"),
    ("fe80::1", false, "link-local"),
    ("febf:ffff::1", false, "link-local, last"),
    ("fec0::1", false, "site-local"),
    ("ff02::1", false, "multicast"),
    ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false, "the last of all"),
];

fn in_block(ip: u128, base: u128, prefix: u32, width: u32) -> bool {
    let size = 1u128 << (width - prefix);
    (base..=base + (size - 1)).contains(&ip)
}

fn base_v4(block: &(&str, u32, &str)) -> u32 {
    u32::from(block.0.parse::<Ipv4Addr>().expect("an address"))
}

fn base_v6(block: &(&str, u32, &str)) -> u128 {
    u128::from(block.0.parse::<Ipv6Addr>().expect("an address"))
}

fn expected_v4(ip: u32) -> bool {
    !BLOCKS_V4.iter().any(|block| in_block(u128::from(ip), u128::from(base_v4(block)), block.1, 32))
}

fn expected_v6(ip: u128) -> bool {
    !BLOCKS_V6.iter().any(|block| in_block(ip, base_v6(block), block.1, 128))
}

/// First, last, middle and both neighbours of a block.
fn edges(base: u128, prefix: u32, width: u32) -> Vec<u128> {
    let last = base + ((1u128 << (width - prefix)) - 1);
    let all = [base.checked_sub(1), Some(base), Some(base + (last - base) / 2), Some(last), last.checked_add(1)];
    let end = if width == 32 { u128::from(u32::MAX) } else { u128::MAX };
    all.into_iter().flatten().filter(|ip| *ip <= end).collect()
}

/// Every address to be judged, with what is expected and why.
fn corpus() -> Vec<(IpAddr, bool, String)> {
    let mut cases = Vec::new();
    for block in BLOCKS_V4 {
        for ip in edges(u128::from(base_v4(block)), block.1, 32) {
            let ip = u32::try_from(ip).expect("32 bits");
            let (public, low) = (expected_v4(ip), u128::from(ip));
            let v4 = Ipv4Addr::from(ip);
            let mut add = |form: &str, ip: IpAddr| cases.push((ip, public, format!("{form} of {v4}, at {}", block.2)));
            add("plain", IpAddr::V4(v4));
            add("mapped form", IpAddr::V6(v4.to_ipv6_mapped()));
            add("NAT64 form", IpAddr::V6(Ipv6Addr::from((0x0064_ff9b_u128 << 96) | low)));
            add("6to4 form", IpAddr::V6(Ipv6Addr::from((0x2002_u128 << 112) | (low << 80) | 1)));
            add("compatible form", IpAddr::V6(Ipv6Addr::from(low)));
        }
    }
    for block in BLOCKS_V6 {
        for ip in edges(base_v6(block), block.1, 128) {
            cases.push((IpAddr::V6(Ipv6Addr::from(ip)), expected_v6(ip), format!("at {} {}", block.0, block.2)));
        }
    }
    for (ip, public, why) in KNOWN {
        cases.push((ip.parse().expect("an address"), *public, (*why).to_owned()));
    }
    cases
}

fn literal(ip: IpAddr) -> Url {
    let url = match ip {
        IpAddr::V4(v4) => format!("http://{v4}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]/"),
    };
    Url::parse(&url).expect("a URL")
}

#[test]
fn special_addresses_are_turned_away_in_every_form() {
    let cases = corpus();
    assert!(cases.len() >= 300, "the corpus shrank to {} cases; give back what was lost", cases.len());
    assert!(cases.iter().filter(|case| case.1).count() >= 60, "the corpus needs public neighbours, too");
    let nobody = Guard::new(&[]);
    for (ip, public, why) in cases {
        assert_eq!(is_public(ip), public, "{ip}, {why}: mend is_public");
        assert_eq!(nobody.judge_literal(&literal(ip)).is_ok(), public, "{ip} in a URL, {why}: mend judge_literal");
    }
}

/// What becomes of a URL before anything is resolved.
#[derive(Debug, PartialEq)]
enum Fate {
    /// Not a URL, or an address that is turned away.
    Refused,
    /// A public address.
    Passes,
    /// A name; judged when it is resolved.
    Name,
}

fn fate(url: &str) -> Fate {
    let Ok(url) = Url::parse(url) else { return Fate::Refused };
    match (Guard::new(&[]).judge_literal(&url), url.host()) {
        (Err(_), _) => Fate::Refused,
        (Ok(()), Some(Host::Domain(_))) => Fate::Name,
        (Ok(()), _) => Fate::Passes,
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn no_spelling_of_an_address_gets_through() {
    let refused = [
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://127.0.0.1:8080/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0X7F000001/",
        "http://017700000001/",
        "http://0x7f.1/",
        "http://0x7f.0x0.0x0.0x1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://0177.0.0.1/",
        "http://0177.0.0.01/",
        "http://00000177.0.0.1/",
        "http://0/",
        "http://0x/",
        "http://0.0.0.0/",
        "http://00.0x0.0/",
        "http://%31%32%37.0.0.1/",
        "http://127%2e0%2e0%2e1/",
        "http://１２７.０.０.１/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://user@127.0.0.1/",
        "http://example.com@127.0.0.1/",
        "http://example.com:80@127.0.0.1/",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1?@example.com/",
        "http:\\\\127.0.0.1\\",
        "http:127.0.0.1",
        "http:////127.0.0.1/",
        "http:///127.0.0.1/",
        " http://127.0.0.1/ ",
        "ht\ntp://127.0.\n0.1/",
        "http://[::1]/",
        "http://[::]/",
        "http://[0:0:0:0:0:0:0:1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:7F00:1]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
        "http://[::127.0.0.1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://[fd00:ec2::254]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://0251.0376.0251.0376/",
        "http://169.16689662/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://10.1/",
        "http://192.168.1/",
        "http://3232235777/",
        "http://172.16.1/",
        "http://256.256.256.256/",
        "http://4294967296/",
        "http://1.2.3.4.5/",
        "http://127.0.0.0x1/",
        "http://08.0.0.1/",
        "http://[::1/",
        "http://[1.1.1.1]/",
        "http://",
    ];
    for url in refused {
        assert_eq!(fate(url), Fate::Refused, "{url:?} must not reach a connector; mend judge_literal");
    }
    let others = [
        ("http://1.1.1.1/", Fate::Passes, "a public address"),
        ("http://16843009/", Fate::Passes, "1.1.1.1 as one number is as public"),
        ("http://[2606:4700:4700::1111]/", Fate::Passes, "a public address"),
        ("http://[::ffff:1.1.1.1]/", Fate::Passes, "a public address, mapped"),
        ("http://localhost/", Fate::Name, "judged when resolved"),
        ("http://example.com\\@127.0.0.1/", Fate::Name, "a backslash is a slash: the host is example.com"),
        ("http://127.0.0.1.example.com/", Fate::Name, "a name that begins like an address"),
        ("http://0x7f.example/", Fate::Name, "a name that begins like a number"),
    ];
    for (url, expected, why) in others {
        assert_eq!(fate(url), expected, "{url}: {why}; mend judge_literal");
    }
}

#[test]
fn an_allowed_literal_passes_in_every_spelling_and_lets_nothing_else_pass() {
    let guard = Guard::new(&["127.0.0.1".to_owned(), "::1".to_owned()]);
    let cases = [
        ("http://127.0.0.1:9/", true, "allowed by name"),
        ("http://2130706433/", true, "the same address"),
        ("http://[0:0::1]/", true, "the same address"),
        ("http://127.0.0.2/", false, "its neighbour"),
        ("http://[::ffff:127.0.0.1]/", false, "another form was not allowed"),
        ("http://10.0.0.1/", false, "another address"),
    ];
    for (url, passes, why) in cases {
        let judged = guard.judge_literal(&Url::parse(url).expect("a URL"));
        assert_eq!(judged.is_ok(), passes, "{url}, {why}: {judged:?}; mend Guard::allows");
    }
}

#[tokio::test]
async fn names_are_judged_by_what_they_resolve_to() {
    let allow = |hosts: &[&str]| Guard::new(&hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>());
    let cases = [
        ("localhost", &[][..], false, "the hosts file names loopback"),
        ("LOCALHOST", &[][..], false, "letter case changes nothing"),
        ("2130706433", &[][..], false, "the system's resolver reads numbers as addresses"),
        ("0x7f.1", &[][..], false, "and hexadecimal ones"),
        ("127.1", &[][..], false, "and short ones"),
        ("localhost", &["localhost"][..], true, "allowed by name"),
        ("LocalHost", &["LOCALhost"][..], true, "allowed in any letter case"),
        ("localhost", &["127.0.0.1", "::1"][..], false, "allowing an address does not allow the names that lead to it"),
        ("localhost", &["localhost.example"][..], false, "another name was allowed"),
    ];
    for (name, allowed, passes, why) in cases {
        let answer = allow(allowed).resolve(name).await;
        assert_eq!(answer.is_ok(), passes, "{name} with {allowed:?} allowed: {why}; mend Guard::resolve");
        if let Ok(addresses) = answer {
            assert!(!addresses.is_empty(), "{name}: an answer without addresses is none");
        }
    }
}

fn wire(allow_hosts: &[&str]) -> Wire {
    // The second call finds the first one's provider in place.
    let _made = rustls::crypto::ring::default_provider().install_default();
    let timeout = Duration::from_secs(5);
    Wire::new(&WireConfig {
        connect_timeout: timeout,
        request_timeout: timeout,
        idle_connections: 1,
        allow_hosts: allow_hosts.iter().map(|host| (*host).to_owned()).collect(),
    })
    .expect("an HTTP client")
}

#[tokio::test]
async fn no_connection_is_made_to_a_forbidden_address() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a listener that does not wait");
    let port = listener.local_addr().expect("its port").port();
    let url = |host: &str| format!("http://{host}:{port}/").parse().expect("a URL");
    let request = |host: &str| Request { url: url(host), headers: HeaderMap::new(), body: Bytes::new() };
    for host in ["127.0.0.1", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "localhost", "LocalHost"] {
        let failed = wire(&[]).send(request(host)).await.expect_err("nothing may answer");
        assert!(matches!(failed, WireError::Forbidden(_)), "{host}: {failed:?} must be Forbidden; mend Wire::send");
        assert!(listener.accept().is_err(), "{host}: a connection was made; judge before connecting");
    }
    // With the listener gone, an allowed host fails for another reason: it was let through to the connector.
    drop(listener);
    for host in ["127.0.0.1", "localhost"] {
        let failed = wire(&[host]).send(request(host)).await.expect_err("nothing listens");
        assert!(matches!(failed, WireError::BeforeWrite(_)), "{host}: {failed:?} must be a failed connection");
    }
}
