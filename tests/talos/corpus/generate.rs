//! Configs and patches out of the tables of fields, by chance.

use fairlead::cloud::machine_config::schema::{Schema, Special, Type};
use fairlead::cloud::machine_config::yaml::{Entry, Layout, Mapping, Node, Place, Scalar, Sequence, Value, write};

/// SplitMix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, most: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(most.max(1)).unwrap()).unwrap()
    }

    fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}

/// A config and patches for it.
pub(super) struct Case {
    pub(super) base: String,
    pub(super) patches: Vec<String>,
}

impl Case {
    pub(super) fn new(dice: &mut Dice, schema: &Schema) -> Self {
        let kinds: Vec<_> = schema.kinds().into_iter().filter(|kind| *kind != "v1alpha1").collect();
        // Few kinds and few fields in one case, so that a patch meets what it patches.
        let few: Vec<&str> = (0..2).map(|_| dice.pick(&kinds)).collect();
        let focus = dice.next();
        let faults = dice.percent(15);
        let json = dice.percent(6);
        let make = |dice: &mut Dice, patch: bool| {
            let mut maker = Maker { schema, focus, patch, json, faults: faults && dice.percent(50), depth: 0, items: 0 };
            let mut documents = Vec::new();
            if !patch || dice.percent(70) {
                documents.push(maker.document("v1alpha1", dice));
            }
            for kind in &few {
                if dice.percent(55) {
                    documents.push(maker.document(kind, dice));
                }
            }
            if documents.is_empty() || dice.percent(1) {
                documents.push(maker.document("v1alpha1", dice));
            }
            write(&documents).text.to_string()
        };
        let base = make(dice, false);
        let mut patches: Vec<String> = (0..=dice.below(3)).map(|_| make(dice, true)).collect();
        if json {
            patches = vec![json_patch(dice)];
        }
        Self { base, patches }
    }
}

/// Talos takes these over one document only.
fn json_patch(dice: &mut Dice) -> String {
    let paths = [
        "/machine/token",
        "/machine/sysctls",
        "/machine/sysctls/a",
        "/machine/certSANs/0",
        "/machine/certSANs/-",
        "/machine/type",
        "/machine/nothing/x",
        "/debug",
    ];
    let mut text = String::new();
    for _ in 0..=dice.below(2) {
        let path = dice.pick(&paths);
        let operation = match dice.below(4) {
            0 => format!("- op: add\n  path: {path}\n  value: {}\n", if path.ends_with("sysctls") { "{b: c}" } else { "x" }),
            1 => format!("- op: remove\n  path: {path}\n"),
            2 => format!("- op: replace\n  path: {path}\n  value: {}\n", if path.ends_with("sysctls") { "{b: c}" } else { "x" }),
            _ => format!("- op: copy\n  from: /machine/token\n  path: {path}\n"),
        };
        text.push_str(&operation);
    }
    text
}

struct Maker<'s> {
    schema: &'s Schema,
    focus: u64,
    patch: bool,
    /// A JSON patch follows, for which Talos writes every number anew, and we don't: `0600` as text becomes 384 there.
    json: bool,
    faults: bool,
    depth: usize,
    items: usize,
}

const PLACE: Place = Place { source: 0, line: 0, column: 0 };

fn plain(text: &str) -> Node {
    Node::scalar(Scalar::plain(text), PLACE)
}

fn text(text: &str) -> Node {
    Node::string(text, PLACE)
}

fn mapping(entries: Vec<(String, Node)>, layout: Layout) -> Node {
    let entries = entries.into_iter().map(|(key, value)| Entry { key: text(&key), value }).collect();
    Node { value: Value::Mapping(Mapping { entries, layout }), tag: None, place: PLACE }
}

fn list(items: Vec<Node>, layout: Layout) -> Node {
    Node { value: Value::Sequence(Sequence { items, layout }), tag: None, place: PLACE }
}

impl Maker<'_> {
    fn document(&mut self, kind: &str, dice: &mut Dice) -> Node {
        let known = self.schema.document(kind).expect("a known kind");
        if kind == "v1alpha1" {
            let mut node = self.structure(known.structure, dice);
            let there = node.as_mapping_mut().unwrap();
            there.set("version", text("v1alpha1"));
            if there.get("machine").is_none() && there.get("cluster").is_none() {
                there.set("machine", mapping(vec![("token".to_owned(), text(dice.pick(&["", "t.u", "x"])))], Layout::Block));
            }
            return node;
        }
        let mut node = self.structure(known.structure, dice);
        let there = node.as_mapping_mut().unwrap();
        there.remove("name");
        let mut entries = vec![("apiVersion".to_owned(), text("v1alpha1")), ("kind".to_owned(), text(kind))];
        if known.named {
            entries.push(("name".to_owned(), text(dice.pick(&["a", "b"]))));
        }
        if self.patch && dice.percent(4) {
            entries.push(("$patch".to_owned(), text("delete")));
        }
        let mut document = mapping(entries, Layout::Block);
        for entry in there.entries.drain(..) {
            if !matches!(entry.key_text(), "apiVersion" | "kind") {
                document.as_mapping_mut().unwrap().entries.push(entry);
            }
        }
        document
    }

    fn layout(dice: &mut Dice) -> Layout {
        if dice.percent(25) { Layout::Flow } else { Layout::Block }
    }

    fn structure(&mut self, index: usize, dice: &mut Dice) -> Node {
        let structure = self.schema.structure(index);
        let mut entries = Vec::new();
        self.depth += 1;
        let few = structure.fields.len() <= 4;
        for (position, field) in structure.fields.iter().enumerate() {
            let hash = Dice::new(self.focus ^ (u64::try_from(index).unwrap() << 32) ^ u64::try_from(position).unwrap()).next();
            let in_focus = hash % 100 < if few { 50 } else { 12 };
            let must = structure.name == "v1alpha1.Config" && field.name == "machine";
            let chance = match (must, in_focus) {
                (true, _) => 90,
                (false, true) => 70,
                (false, false) => 1,
            };
            if self.depth < 9 && dice.percent(chance) {
                let name = if self.faults && dice.percent(1) { format!("{}x", field.name) } else { field.name.to_owned() };
                entries.push((name, self.value(&field.ty, dice)));
            }
        }
        if let Some(others) = &structure.others {
            for key in ["k", "l"] {
                if dice.percent(50) {
                    entries.push((key.to_owned(), self.value(others, dice)));
                }
            }
        }
        self.depth -= 1;
        if self.patch && self.depth > 0 && dice.percent(3) {
            entries.push(("$patch".to_owned(), text("delete")));
        }
        mapping(entries, Self::layout(dice))
    }

    fn value(&mut self, ty: &Type, dice: &mut Dice) -> Node {
        if dice.percent(2) {
            return plain(dice.pick(&["", "null", "~"]));
        }
        if self.patch && dice.percent(2) {
            return mapping(vec![("$patch".to_owned(), text("delete"))], Self::layout(dice));
        }
        if self.faults && dice.percent(2) {
            return match dice.below(3) {
                0 => plain("wrong"),
                1 => list(vec![plain("1")], Layout::Flow),
                _ => mapping(vec![("wrong".to_owned(), plain("1"))], Layout::Block),
            };
        }
        match ty {
            Type::String => self.string(dice),
            Type::Bool => plain(dice.pick(&["true", "false", "yes", "no", "True", "on", "off"])),
            Type::Integer { least, most } => {
                let texts = ["0", "1", "7", "0x10", "010", "1_0", "100", "1e1"];
                let number = dice.pick(&texts);
                if dice.percent(5) { plain(&if dice.percent(50) { *least } else { *most }.to_string()) } else { plain(number) }
            }
            Type::Float => plain(dice.pick(&["0", "1.5", "1e3", "3", ".5"])),
            Type::Duration => plain(dice.pick(&["0s", "10s", "1h30m", "1.5m", "250ms"])),
            Type::Any => self.any(dice),
            Type::Pointer(inner) => self.value(inner, dice),
            Type::List(inner) | Type::Keyed(_, inner) => {
                let items = (0..dice.below(3)).map(|_| self.item(inner, dice)).collect();
                list(items, Self::layout(dice))
            }
            Type::Map(inner) | Type::Arguments(inner) => {
                self.depth += 1;
                let mut entries = Vec::new();
                for key in ["a", "b", "0x1"] {
                    if dice.percent(45) {
                        entries.push((key.to_owned(), self.value(inner, dice)));
                    }
                }
                self.depth -= 1;
                mapping(entries, Self::layout(dice))
            }
            Type::Struct(index) => self.structure(*index, dice),
            Type::Enumeration(index) => {
                let names = &self.schema.enumeration(*index).names;
                if names.is_empty() { plain(dice.pick(&["10GB", "5", "1 TiB"])) } else { text(dice.pick(names)) }
            }
            Type::Special(special) => self.special(*special, dice),
        }
    }

    /// An item of a list: sometimes one to be taken out.
    fn item(&mut self, ty: &Type, dice: &mut Dice) -> Node {
        self.items += 1;
        let mut item = self.value(ty, dice);
        // We refuse this always, and Talos where it falls over it.
        while item.is_null() && matches!(ty, Type::Pointer(_)) {
            item = self.value(ty, dice);
        }
        let target = match ty {
            Type::Pointer(inner) => inner,
            ty => ty,
        };
        if let (Type::Struct(index), Some(there)) = (target, item.as_mapping_mut()) {
            // So that items meet.
            for key in ["interface", "mountPath", "name", "image", "vlanId"] {
                let field = self.schema.structure(*index).field(key).filter(|_| dice.percent(80));
                if let Some(field) = field {
                    let value = match field.ty {
                        Type::String => text(dice.pick(&["a", "b"])),
                        _ => plain(dice.pick(&["5", "0x5", "6"])),
                    };
                    there.entries.retain(|entry| entry.key_text() != key);
                    let entry = Entry { key: text(key), value };
                    there.entries.insert(0, entry);
                    if self.patch && dice.percent(8) {
                        there.entries.retain(|entry| entry.key_text() != "$patch");
                        there.entries.push(Entry { key: text("$patch"), value: text("delete") });
                    }
                    break;
                }
            }
        }
        item
    }

    fn any(&mut self, dice: &mut Dice) -> Node {
        self.depth += 1;
        let node = match dice.below(if self.depth > 8 { 4 } else { 7 }) {
            0 => self.string(dice),
            1 => plain(dice.pick(&["1", "2", "0"])),
            2 => plain(dice.pick(&["true", "false"])),
            3 => text(dice.pick(&["x", "y"])),
            4 => list((0..dice.below(3)).map(|_| self.any(dice)).collect(), Self::layout(dice)),
            _ => {
                let mut entries = Vec::new();
                for key in ["k", "l"] {
                    if dice.percent(50) {
                        entries.push((key.to_owned(), self.any(dice)));
                    }
                }
                mapping(entries, Self::layout(dice))
            }
        };
        self.depth -= 1;
        node
    }

    fn string(&self, dice: &mut Dice) -> Node {
        match dice.below(12) {
            0 if self.json => text("z"),
            0 => plain(dice.pick(&[
                "0600",
                "no",
                "1e3",
                "123456789012345678901234567890",
                "1.10",
                "0x1F",
                "true",
                "1_000",
                "+1",
                "12:30:45",
                "0o17",
                ".5",
                "1.",
            ])),
            1 => text(dice.pick(&[
                "0600",
                "no",
                "~",
                "a: b",
                "a #b",
                " x ",
                "{{ x }}",
                "*a",
                "&a",
                "!a",
                "- a",
                "a\tb",
                "\u{e9}\u{4e2d}",
                "'",
                "\"",
                "%a",
                "@a",
                "`a",
                "[a",
                "2001-12-14",
            ])),
            2 => text(dice.pick(&[
                "one\ntwo\n",
                "one\n  two\n\nthree",
                "\n\nlate\n",
                "x\n\n\n",
                "  indented\nless\n",
                "tab\there\nmore\n",
                "end  \nblank\n",
            ])),
            3 => text(""),
            4..=6 => text("x"),
            7 | 8 => text("y"),
            _ => text(dice.pick(&["/dev/sda", "10.0.0.1/24", "ghcr.io/x/y:v1", "a=b", "https://x:1/y", "foo.bar"])),
        }
    }

    fn special(&self, special: Special, dice: &mut Dice) -> Node {
        let texts: &[&str] = match special {
            Special::Prefix => &["10.0.0.0/8", "fd00::/8", "192.0.2.7/24"],
            Special::Address => &["10.0.0.1", "fd00::1"],
            Special::AddressPort => &["10.0.0.1:80", "[fd00::1]:80"],
            Special::Url => &["https://a:6443", "https://b:6443/x", "http://c", "https://d:1?q=1", "tcp://e:2"],
            Special::ByteSize => &["10GB", "5GiB", "1000"],
            Special::Size => &["10GB", "50%", "5GiB", "25%"],
            Special::SizeMatcher => &[">= 10GB", "5GB", "< 1TB"],
            Special::Expression => &["system_disk", "!system_disk", "disk.size > 10u * GiB"],
            Special::Argument => {
                return if dice.percent(40) {
                    list((0..dice.below(3)).map(|_| self.string(dice)).collect(), Self::layout(dice))
                } else {
                    self.string(dice)
                };
            }
            Special::HardwareAddress => &["aa:bb:cc:dd:ee:ff", "02:00:00:00:00:01"],
            Special::PortRange => {
                return if dice.percent(50) { plain(dice.pick(&["80", "443"])) } else { text(dice.pick(&["80-90", "1000-2000"])) };
            }
            Special::Base64 => &["Q0E=", "TkVX", ""],
            Special::DiskSize => &["10GB", "5"],
            Special::CertificateAndKey | Special::Certificate | Special::Key => {
                let mut entries = Vec::new();
                for (key, wanted) in [("crt", special != Special::Key), ("key", special != Special::Certificate)] {
                    if wanted && dice.percent(70) {
                        entries.push((key.to_owned(), text(dice.pick(&["Q0E=", "TkVX", ""]))));
                    }
                }
                return mapping(entries, Self::layout(dice));
            }
        };
        text(dice.pick(texts))
    }
}
