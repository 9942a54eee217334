use crate::wire::Name;

/// A `HostnameConfig` document. `auto: off` is needed beside `hostname`: configs generated since Talos 1.12 carry `auto: stable`.
#[must_use]
pub fn hostname(hostname: &Name) -> String {
    format!("apiVersion: v1alpha1\nkind: HostnameConfig\nhostname: {hostname}\nauto: off\n")
}

/// A `TrustedRootsConfig` document: without it Talos would not believe a boot plane with a private CA.
#[must_use]
pub fn trusted_roots(root_pem: &str) -> String {
    let mut document = String::from("apiVersion: v1alpha1\nkind: TrustedRootsConfig\nname: fairlead\ncertificates: |-\n");
    for line in root_pem.lines() {
        document.push_str("    ");
        document.push_str(line);
        document.push('\n');
    }
    document
}

/// The `ExtensionServiceConfig` document of the Tailscale extension.
///
/// `TS_AUTH_ONCE`: without it every restart logs in again, and a key that has expired since locks the node out.
#[must_use]
pub fn tailscale(auth_key: &str, hostname: &Name) -> String {
    format!(
        "apiVersion: v1alpha1\nkind: ExtensionServiceConfig\nname: tailscale\nenvironment:\n    - TS_AUTHKEY={auth_key}\n    - \
         TS_HOSTNAME={hostname}\n    - TS_AUTH_ONCE=true\n"
    )
}
