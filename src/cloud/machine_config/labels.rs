//! Labels and taints of a Kubernetes node, as far as a node may give itself any.

use std::collections::BTreeMap;

/// The labels in Kubernetes' own namespace that NodeRestriction lets a kubelet set.
const ALLOWED: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
];
const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// Checks labels and taints that are to be added.
///
/// # Errors
/// In words, when Talos or the API server would refuse one.
pub(super) fn check(labels: &BTreeMap<String, String>, taints: &BTreeMap<String, String>, is_control_plane: bool) -> Result<(), String> {
    for (key, value) in labels {
        if !is_key(key) || !is_value(value) {
            return Err(format!(
                "`{key}` is no label as Kubernetes has them: key and value have letters, digits, `-`, `_` and `.`, 63 at most"
            ));
        }
        if !is_control_plane && !may_label_itself(key) {
            return Err(format!(
                "the label `{key}` can't be set by a worker: the API server's NodeRestriction keeps that namespace for itself"
            ));
        }
    }
    for (key, taint) in taints {
        let (value, effect) = taint.rsplit_once(':').unwrap_or(("", taint));
        if !is_key(key) || !is_value(value) || !EFFECTS.contains(&effect) {
            return Err(format!("`{key}` is no taint as Kubernetes has them: `VALUE:EFFECT` with one of {}", EFFECTS.join(", ")));
        }
    }
    Ok(())
}

fn may_label_itself(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else { return true };
    let within = |of: &str| domain == of || domain.strip_suffix(of).is_some_and(|rest| rest.ends_with('.'));
    if !within("kubernetes.io") && !within("k8s.io") {
        return true;
    }
    ALLOWED.contains(&key)
        || within("kubelet.kubernetes.io")
        || (within("node.kubernetes.io") && domain != "node-restriction.kubernetes.io")
}

/// A qualified name: an optional DNS name and `/`, then a name.
pub(super) fn is_key(key: &str) -> bool {
    let (domain, name) = key.split_once('/').map_or((None, key), |(domain, name)| (Some(domain), name));
    let good_domain = domain.is_none_or(|domain| {
        (1..=253).contains(&domain.len())
            && domain.split('.').all(|part| {
                !part.is_empty()
                    && !part.starts_with('-')
                    && !part.ends_with('-')
                    && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
            })
    });
    good_domain && !name.is_empty() && is_value(name)
}

pub(super) fn is_value(value: &str) -> bool {
    let edge = |character: char| character.is_ascii_alphanumeric();
    value.is_empty()
        || (value.len() <= 63
            && value.starts_with(edge)
            && value.ends_with(edge)
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(labels: &[(&str, &str)], taints: &[(&str, &str)], is_control_plane: bool) -> Option<String> {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        check(&map(labels), &map(taints), is_control_plane).err()
    }

    #[test]
    fn node_restriction_keeps_kubernetes_namespace() {
        for key in ["topology.kubernetes.io/zone", "example.com/rack", "rack", "kubelet.kubernetes.io/x", "node.kubernetes.io/x"] {
            assert_eq!(refusal(&[(key, "a")], &[], false), None, "{key}");
        }
        for key in ["node-role.kubernetes.io/worker", "node-restriction.kubernetes.io/x", "x.k8s.io/y"] {
            assert!(refusal(&[(key, "a")], &[], false).unwrap().contains("NodeRestriction"), "{key}");
            assert_eq!(refusal(&[(key, "a")], &[], true), None, "a control-plane node labels itself with the rights of one: {key}");
        }
    }

    #[test]
    fn what_is_no_label_or_taint_is_refused() {
        assert!(refusal(&[("a b", "c")], &[], false).is_some());
        assert!(refusal(&[("a", "-c")], &[], false).is_some());
        assert!(refusal(&[], &[("a", "b:Sometimes")], false).is_some());
        assert_eq!(refusal(&[], &[("a", "b:NoSchedule"), ("c", "NoExecute")], false), None);
    }
}
