//! Who is let in: lists, limits, selectors, and sites that are cut off.

use std::fs;

use crate::box_and_node::{SiteBox, script_url};
use crate::program::Cloud;

#[test]
fn a_revoked_site_is_shut_out_at_once_and_reinstated_with_a_new_box() {
    Cloud::on_both("revoke", |cloud| {
        let site = SiteBox::join(&cloud);
        let unused = cloud.run(&["site", "token", "plant-1"]).success().trim().to_owned();
        let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(1))]);
        let config = script.body.split_whitespace().find_map(|word| word.strip_prefix("talos.config=")).expect("a config URL").to_owned();
        assert_eq!(site.settings(&cloud).status, 200);

        cloud.run(&["site", "revoke", "plant-1", "--reason", "the box was stolen"]).success();
        assert_eq!(site.settings(&cloud).status, 403, "its certificate");
        let ticket = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(2))]);
        assert_eq!((ticket.status, ticket.body.trim()), (403, "ticket not signed by known site"));
        let path = config.split_once("/boot/").map(|(_, path)| format!("/boot/{path}")).expect("a path");
        assert_eq!(cloud.curl_boot(&path, &[]).status, 403, "what its node was handed before");
        let (status, _) = SiteBox::try_join(&cloud, &unused);
        assert_eq!(status, 403, "a join token that nobody used");
        let refused = cloud.run(&["site", "token", "plant-1"]).failure();
        assert!(refused.contains("was cut off") && refused.contains("--reinstate"), "{refused}");
        assert!(cloud.run(&["site", "list"]).success().contains("revoked"));

        let token = cloud.run(&["site", "token", "plant-1", "--reinstate"]).success();
        let second = SiteBox::join_with(&cloud, token.trim());
        assert_eq!((second.settings(&cloud).status, site.settings(&cloud).status), (200, 403));
        let audit = cloud.run(&["audit", "list", "--subject", "plant-1"]).success();
        assert!(audit.contains("site.revoke") && audit.contains("the box was stolen") && audit.contains("site.reinstate"), "{audit}");
    });
}

#[test]
fn a_list_is_imported_and_nodes_are_approved_by_what_they_are() {
    let cloud = Cloud::with_site("list");
    let site = SiteBox::join(&cloud);
    cloud.run(&["site", "admission", "plant-1", "--policy", "allow", "--per-day", "5", "--hours", "00:00-24:00"]).success();
    let file = cloud.folder().join("list.csv").display().to_string();
    fs::write(&file, "mac,hostname\n52:54:00:00:00:09,worker-9\nx,\n").expect("written");
    let refused = cloud.run(&["site", "allow", "plant-1", &file]).failure();
    assert!(refused.contains("line 3: `x` is not") && refused.contains("hint:"), "{refused}");
    fs::write(&file, "mac,hostname\n52:54:00:00:00:09,worker-9\n").expect("written");
    assert!(cloud.run(&["site", "allow", "plant-1", &file]).success().contains("1 of them new"));
    assert!(cloud.run(&["site", "allowed", "plant-1"]).success().contains("worker-9"));

    let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(1))]);
    assert!(script.body.contains("waits for approval"), "{}", script.body);
    cloud.run(&["class", "add", "lab", "--site", "plant-*", "--label", "rack=4"]).success();
    let listed = cloud.run(&["node", "list", "--select", "class=lab,state=pending", "-o", "json"]).success();
    assert!(listed.contains("\"rack\": \"4\"") && listed.contains("not on the site's list"), "{listed}");
    let shown = cloud.run(&["node", "approve", "--select", "label.rack=4", "--dry-run"]).success();
    assert!(shown.contains("would be approved"), "{shown}");
    let approved = cloud.run(&["node", "approve", "--select", "label.rack=4", "--reason", "rack 4 is ours"]).success();
    assert!(approved.contains("is approved"), "{approved}");
    assert!(cloud.run(&["node", "approve", "--select", "label.rack=4"]).success().contains("no node that waits matches"));
    let retired = cloud.run(&["node", "retire", "1", "--reason", "sold"]).success();
    assert!(retired.contains("is retired"), "{retired}");
    let script = cloud.curl_boot(&script_url(), &["-H", &format!("Authorization: Bearer {}", site.ticket(2))]);
    assert!(script.body.contains("retired"), "{}", script.body);
    let wrong = cloud.run(&["node", "list", "--select", "colour=red"]).failure();
    assert!(wrong.contains("colour") && wrong.contains("product"), "{wrong}");
    let none = cloud.run(&["node", "list", "--site", "nowhere"]).failure();
    assert!(none.contains("no site named `nowhere`") && none.contains("site list"), "{none}");
}
