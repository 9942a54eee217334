//! What a listing and a boot request cost with many nodes, on both databases.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, header};
use axum::{Extension, Router};
use fairlead::cloud::boot::{BootService, Channel};
use fairlead::cloud::store::{NodeFilter, Selector, Store};
use fairlead_lab::postgresql::{Durability, PostgresqlServer};
use tokio::runtime::Runtime;
use tower_service::Service as _;

use super::{Cloud, millis, quick, timed};

const FEW: u32 = 1_000;

pub(crate) fn measure() {
    let (many, sites) = if quick() { (100_000, 1_000) } else { (1_000_000, 10_000) };
    on("sqlite", many, sites, &Cloud::new("scale-sqlite", ""), |cloud, sql| {
        rusqlite::Connection::open(cloud.config.state_dir.join("cloud.db")).unwrap().execute_batch(sql).unwrap();
    });
    let server = PostgresqlServer::start(Durability::Full).unwrap_or_else(|failure| panic!("{failure}"));
    let url = server.create_database("scale").unwrap();
    on("postgresql", many, sites, &Cloud::new("scale-postgresql", &format!("[store]\nurl = \"{url}\"\n")), |_, sql| {
        server.ask("scale", sql).unwrap_or_else(|failure| panic!("{failure}"));
    });
}

fn on(name: &str, many: u32, sites: u32, cloud: &Cloud, run: impl Fn(&Cloud, &str)) {
    let is_sqlite = name == "sqlite";
    run(cloud, &fill(is_sqlite, 1, FEW, 10));
    let few = boot_request(cloud, 0);
    run(cloud, &fill(is_sqlite, FEW + 1, many, sites));
    run(cloud, "ANALYZE");
    let state = cloud.state();
    for (filter, select) in [
        ("site_and_state", "site=s-77,state=pending"),
        ("state", "state=rearmed"),
        ("class", "class=storage,site=s-78"),
        ("hostname", "hostname=h-4711"),
    ] {
        let p99 = listing(&state.store, select);
        println!(
            "bench: node_list_p99_ms_{name}_{filter}_{many}_nodes ours={:.2} peer=goal:100 ratio={:.2}",
            millis(p99),
            100.0 / millis(p99)
        );
    }
    drop(state);
    let full = boot_request(cloud, 1);
    println!(
        "bench: boot_request_ms_{name}_{many}_nodes ours={:.2} peer={FEW}_nodes:{:.2} ratio={:.2}",
        millis(full),
        millis(few),
        few.as_secs_f64() / full.as_secs_f64()
    );
}

/// Statements that add nodes of that many sites, each with its address.
fn fill(is_sqlite: bool, first: u32, last: u32, sites: u32) -> String {
    let series = |from: u32, to: u32| {
        if is_sqlite {
            format!("(WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {to}) SELECT i FROM n) AS n")
        } else {
            format!("(SELECT i FROM generate_series({from}, {to}) AS g (i)) AS n")
        }
    };
    let octets = if is_sqlite {
        "printf('06:00:%02x:%02x:%02x:%02x', i >> 24 & 255, i >> 16 & 255, i >> 8 & 255, i & 255)"
    } else {
        "'06:00:' || regexp_replace(lpad(to_hex(i), 8, '0'), '(..)(..)(..)(..)', '\\1:\\2:\\3:\\4')"
    };
    let uuid =
        if is_sqlite { "printf('4c4c4544-0042-3510-8052-%012x', i)" } else { "'4c4c4544-0042-3510-8052-' || lpad(to_hex(i), 12, '0')" };
    format!(
        "INSERT INTO site (name, cluster, policy, created_at) SELECT 's-' || i, 1, 'auto', 1 FROM {sites_series} WHERE true \
         ON CONFLICT DO NOTHING;\n\
         INSERT INTO class (name, arch, vendor, product, serial, site, labels, created_at) \
         VALUES ('storage', '', '', 'R7*', '', '', '{{}}', 1) ON CONFLICT DO NOTHING;\n\
         INSERT INTO node (site, mac, uuid, code, state, reason, hostname, serial, product, local_boot, first_seen, changed_at, vendor, arch, \
         last_seen, held, let_in_at) SELECT 2 + i % {sites}, {octets}, {uuid}, 'C' || i, \
         CASE (i / 7) % 50 WHEN 0 THEN 'pending' WHEN 1 THEN 'rearmed' ELSE 'joined' END, 'why', 'h-' || i, 'S' || i, 'R' || (600 + (i / 11) % 200), \
         'auto', 1, 1, 'Dell Inc.', 'x86_64', 1, 0, 0 FROM {nodes_series};\n\
         INSERT INTO node_mac (mac, node, first_seen) SELECT mac, id, 1 FROM node WHERE code LIKE 'C%' ON CONFLICT DO NOTHING;",
        sites_series = series(1, sites),
        nodes_series = series(first, last),
    )
}

/// The 99th percentile of listing a page of nodes.
fn listing(store: &Store, select: &str) -> Duration {
    let filter = NodeFilter { selector: select.parse::<Selector>().unwrap(), after: 0 };
    let times = timed(200, |_| {
        let filter = filter.clone();
        let nodes = store.read(move |tx| tx.nodes(&filter, 100)).unwrap();
        assert!(!nodes.is_empty(), "{select}");
    });
    times[times.len() * 99 / 100]
}

/// The median of what a request for a boot script takes, one after the other, each by a new machine: the most that there is to look up.
fn boot_request(cloud: &Cloud, round: u64) -> Duration {
    let channel = Channel { peer: "127.0.0.1:1".parse().unwrap(), tls: "none".to_owned() };
    let router: Router = BootService::new(cloud.config.boot_plane.clone(), Arc::new(cloud.state())).router().layer(Extension(channel));
    let runtime = Runtime::new().unwrap();
    let times = timed(300, |number| {
        let (mac, ticket) = cloud.ticket(round * 1_000_000 + number as u64);
        let path = format!("/boot/v1/script?mac={mac}&uuid=&serial=X{number}&platform=efi");
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {ticket}")).body(Body::empty()).unwrap();
        let Ok(answer) = runtime.block_on(router.clone().call(request));
        assert!(answer.status().is_success());
    });
    times[times.len() / 2]
}
