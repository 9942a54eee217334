use super::yaml::{Node, Place, write};

/// A `TrustedRootsConfig` document: without it Talos would not believe a boot plane with a private CA.
#[must_use]
pub fn trusted_roots(root_pem: &str) -> String {
    let text = |text: &str| Node::string(text, Place::default());
    let document = Node::mapping(
        vec![
            ("apiVersion", text("v1alpha1")),
            ("kind", text("TrustedRootsConfig")),
            ("name", text("fairlead")),
            ("certificates", text(root_pem.trim_end())),
        ],
        Place::default(),
    );
    write(std::slice::from_ref(&document)).text.to_string()
}
