//! `fairlead-cloud` as an operator, a box and a node meet it: the real binary, driven by its command line and by curl.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation is how a test reports")]

mod admission;
mod box_and_node;
mod program;
mod store;

use std::fs;

use box_and_node::{SiteBox, script_url};
use program::Cloud;

#[test]
fn a_used_ticket_and_a_served_config_stay_so_after_kill_9() {
    Cloud::on_both("kill", a_used_ticket_stays_used);
}

fn a_used_ticket_stays_used(mut cloud: Cloud) {
    let site = SiteBox::join(&cloud);
    let ticket = site.ticket(1);
    let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {ticket}")]);
    assert_eq!(script.status, 200, "{}", script.body);
    cloud.kill_and_restart();
    let replay = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {ticket}")]);
    assert_eq!((replay.status, replay.body.trim()), (403, "ticket already used"));

    let config = script.body.split_whitespace().find_map(|word| word.strip_prefix("talos.config=")).expect("a config URL").to_owned();
    let path = config.split_once("/boot/").map(|(_, path)| format!("/boot/{path}")).expect("a path");
    let served = cloud.curl_boot(&path, &[]);
    assert_eq!(served.status, 200, "{}", served.body);
    cloud.kill_and_restart();
    let again = cloud.curl_boot(&path, &[]);
    assert_eq!((again.status, again.body.trim()), (403, "config token already used"));
    let shown = cloud.run(&["session", "show", "latest"]).success();
    assert!(shown.contains("ALARM ticket_replayed") && shown.contains("ALARM config_refused"), "{shown}");
}

#[test]
fn a_join_token_works_once_and_a_new_box_shuts_the_old_one_out() {
    Cloud::on_both("join", |cloud| a_join_token_works_once(&cloud));
}

fn a_join_token_works_once(cloud: &Cloud) {
    let first = SiteBox::join(cloud);
    assert_eq!(first.settings(cloud).status, 200);
    let (status, answer) = SiteBox::try_join(cloud, &cloud.join_token());
    assert_eq!(status, 403, "{answer}");
    assert!(answer.contains("used before") && answer.contains("fairlead-cloud site token"), "{answer}");
    assert_eq!(first.ask_again(cloud, &cloud.join_token()).status, 200, "the box that used it may have lost the answer");

    let token = cloud.run(&["site", "token", "plant-1"]).success();
    let second = SiteBox::join_with(cloud, token.trim());
    assert_eq!(second.settings(cloud).status, 200);
    let old = first.settings(cloud);
    assert_eq!(old.status, 403, "{}", old.body);
    let refused = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", first.ticket(1))]);
    assert_eq!((refused.status, refused.body.trim()), (403, "ticket not signed by known site"));

    let expired = cloud.run(&["site", "token", "plant-1", "--token-lifetime", "0s"]).success();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let (status, answer) = SiteBox::try_join(cloud, expired.trim());
    assert!(status == 403 && answer.contains("expired"), "{status} {answer}");
}

#[test]
fn the_site_plane_speaks_tls_1_3_only_and_asks_for_the_boxs_certificate() {
    let cloud = Cloud::with_site("tls");
    let none = cloud.curl_site("/site/v1/settings", &[]);
    assert_eq!(none.status, 401, "{}", none.body);
    assert!(none.body.contains("fairlead-edge join"), "{}", none.body);
    let malformed = cloud.curl_site("/site/v1/join", &["-H", "Content-Type: application/json", "--data", "{\"secret\": 1}"]);
    assert!(malformed.status == 422 && malformed.body.contains("secret") && malformed.body.contains("hint"), "{}", malformed.body);
    let old = cloud.curl_site("/site/v1/settings", &["--tls-max", "1.2"]);
    assert_eq!(old.status, 0, "a TLS 1.2 client must not get in");
    let boot = cloud.curl_boot("/boot/v1/config?token=x", &["--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256"]);
    assert_eq!(boot.status, 403, "iPXE has no more than TLS 1.2");
}

#[test]
fn nothing_secret_stands_in_the_database_the_logs_or_the_listings() {
    Cloud::on_both("secrets", |cloud| nothing_secret_is_seen(&cloud));
}

fn nothing_secret_is_seen(cloud: &Cloud) {
    let site = SiteBox::join(cloud);
    let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(1))]);
    let config = script.body.split_whitespace().find_map(|word| word.strip_prefix("talos.config=")).expect("a config URL");
    let path = config.split_once("/boot/").map(|(_, path)| format!("/boot/{path}")).expect("a path");
    let token = config.split_once("token=").expect("a token").1.to_owned();
    let served = cloud.curl_boot(&path, &[]);
    assert!(served.body.contains(program::MACHINE_TOKEN) && served.body.contains(program::TAILSCALE_KEY));

    let export = cloud.folder().join("export.jsonl").display().to_string();
    cloud.run(&["export", &export]).success();
    let mut seen = vec![("log".to_owned(), fs::read(cloud.log()).expect("the log")), ("export".to_owned(), fs::read(&export).expect("it"))];
    for listing in [&["cluster", "list", "-o", "json"][..], &["node", "list", "-o", "json"], &["session", "show", "latest", "-o", "json"]] {
        seen.push(("listing".to_owned(), cloud.run(listing).success().into_bytes()));
    }
    seen.extend(cloud.database_contents());
    let audit = cloud.run(&["audit", "export"]).success();
    for action in ["cluster.add", "site.add", "site.join", "node.discover", "node.boot", "config.hand_out", "store.export", "\"line\":1,"] {
        assert!(audit.contains(action), "the audit log has no {action}: {audit}");
    }
    seen.push(("audit log".to_owned(), audit.into_bytes()));
    let join_secret = cloud.join_token();
    for (place, bytes) in seen {
        for secret in [program::MACHINE_TOKEN, program::TAILSCALE_KEY, token.as_str(), join_secret.as_str()] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret stands in the {place}");
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place_and_remedy() {
    let cloud = Cloud::with_site("wrong");
    let port = cloud.run(&["serve"]).failure();
    assert!(port.contains("cannot listen on 127.0.0.1:") && port.contains("boot_plane.listen") && port.contains("ss -ltnp"), "{port}");
    let twice = cloud.run(&["init"]).failure();
    assert!(twice.contains("there is a cloud in") && twice.contains("state_dir"), "{twice}");
    let unknown = cloud.run(&["node", "approve", "ABCD-EFGH"]).failure();
    assert!(unknown.contains("there is no node `ABCD-EFGH`") && unknown.contains("node list"), "{unknown}");
    let cluster = cloud.run(&["site", "add", "plant-2", "--cluster", "nowhere"]).failure();
    assert!(cluster.contains("there is no cluster `nowhere`") && cluster.contains("cluster add"), "{cluster}");
    let name = cloud.run(&["site", "add", "Plant_2", "--cluster", "prod"]).failure();
    assert!(name.contains("lower-case letters"), "{name}");

    let config = cloud.config();
    let good = fs::read_to_string(&config).expect("the configuration");
    fs::write(&config, good.replace("[site_plane]", "[site_plan]")).expect("written");
    let key = cloud.run(&["check"]).failure();
    assert!(key.contains("cloud.toml:") && key.contains("site_plan"), "{key}");
    fs::remove_file(&config).expect("removed");
    let missing = cloud.run(&["check"]).failure();
    assert!(missing.contains("cannot read the cloud configuration file") && missing.contains("--config"), "{missing}");
}

#[test]
fn a_broken_state_folder_is_named_and_never_started_over() {
    let mut cloud = Cloud::with_site("broken");
    cloud.stop();
    for name in ["cloud.db", "issuing.pem", "capability.key", "store.key", "root.pem"] {
        let path = cloud.state().join(name);
        let good = fs::read(&path).expect("the file");
        fs::write(&path, b"not what it was").expect("written");
        let message = cloud.run(&["serve"]).failure();
        assert!(message.contains("hint:") && message.contains(if name == "root.pem" { "issuing" } else { name }), "{name}: {message}");
        assert_eq!(fs::read(&path).expect("the file"), b"not what it was", "{name} was written over");
        fs::remove_file(&path).expect("removed");
        let message = cloud.run(&["serve"]).failure();
        assert!(message.contains(name) && message.contains("restore it from a backup"), "{name}: {message}");
        assert!(!path.exists(), "{name} was made anew");
        fs::write(&path, good).expect("written");
    }
    cloud.run(&["cluster", "list"]).success();
}

#[test]
fn help_completions_and_man_page_name_every_command() {
    let cloud = Cloud::without_anything("help");
    for arguments in [&["--help"][..], &["man"], &["completions", "bash"]] {
        let text = cloud.run(arguments).success();
        for command in [
            "init", "serve", "check", "cluster", "site", "node", "session", "firmware", "backup", "restore", "export", "import", "store",
            "audit", "class",
        ] {
            assert!(text.contains(command), "{arguments:?} does not name {command}");
        }
    }
}
