//! Members of segments, and what rules say in `from` and `to`.

use super::names::Names;
use super::network::Network;
use super::row::{Item, Located, Row};
use super::scalar;
use crate::diagnostic::{Code, Diagnostic};
use classifier::addr::IpRange;
use classifier::policy::{EndpointSet, Member, SegmentId, Selector};

/// Which word stands alone for a segment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a segment a segment's name needs `segment:` before it.
    Segment,
    /// In a rule it stands alone.
    Rule,
}

/// What a text or a table in a list of endpoints stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Endpoint {
    Any,
    Member(Member),
}

/// Everything that a member may refer to.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) network: &'a Network,
    pub(super) segments: &'a Names<SegmentId>,
    pub(super) place: Place,
}

impl Scope<'_> {
    /// One item of a list.
    pub(super) fn endpoint(&self, item: Item<'_>, out: &mut Vec<Diagnostic>) -> Option<Endpoint> {
        match item {
            Item::Text(text) => self.text(text, out),
            Item::Row(row) => self.table(&row, out),
        }
    }

    /// A list as members; `any` is all addresses of both families.
    pub(super) fn members<'i>(
        &self,
        items: impl Iterator<Item = Item<'i>>,
        out: &mut Vec<Diagnostic>,
    ) -> Vec<Member> {
        let each = |item: Item<'_>| match self.endpoint(item, out)? {
            Endpoint::Any => {
                let addresses = vec![IpRange::V4(0, u32::MAX), IpRange::V6(0, u128::MAX)];
                Some(Member::Selector(Selector { addresses, ..Selector::default() }))
            }
            Endpoint::Member(member) => Some(member),
        };
        items.filter_map(each).collect()
    }

    /// The `from` or `to` of a rule.
    pub(super) fn set(&self, row: &Row<'_>, key: &'static str, out: &mut Vec<Diagnostic>) -> EndpointSet {
        if let Some(value) = row.value(key)
            && matches!(value.data, crate::config::tree::Data::List(ref list) if list.is_empty())
        {
            out.push(
                Diagnostic::error(Code::EmptyList, value.span, format!("`{key}` names no endpoint"))
                    .help("write \"any\" for every endpoint"),
            );
        }
        let mut members = Vec::new();
        let mut is_any = false;
        for item in row.items(key) {
            match self.endpoint(item, out) {
                Some(Endpoint::Member(member)) if members.is_empty() => members = vec![member],
                Some(Endpoint::Member(member)) => members.push(member),
                Some(Endpoint::Any) => is_any = true,
                None => {}
            }
        }
        if is_any { EndpointSet::Any } else { EndpointSet::OneOf(members) }
    }

    fn text(&self, text: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<Endpoint> {
        let selector = |selector| Some(Endpoint::Member(Member::Selector(selector)));
        let rest = |rest| Located::new(rest, text.span);
        if text.value == "any" || text.value == "segment:any" {
            return Some(Endpoint::Any);
        }
        if let Some(name) = text.value.strip_prefix("segment:") {
            return self.segment(rest(name), out);
        }
        if let Some(reference) = text.value.strip_prefix("vlan:") {
            let vlan = Some(self.network.vlan(rest(reference), out)?);
            return selector(Selector { vlan, ..Selector::default() });
        }
        if let Some(mac) = text.value.strip_prefix("mac:") {
            let macs = vec![scalar::mac(rest(mac), out)?];
            return selector(Selector { macs, ..Selector::default() });
        }
        if self.place == Place::Rule
            && let Some(id) = self.segments.get(text.value)
        {
            return Some(Endpoint::Member(Member::Segment(id)));
        }
        if scalar::looks_like_address(text.value) {
            let addresses = vec![scalar::range(text, out)?];
            return selector(Selector { addresses, ..Selector::default() });
        }
        match self.place {
            Place::Rule => self.segment(text, out),
            Place::Segment => {
                let help = if self.segments.has(text.value) {
                    format!("write `segment:{}` for the segment", text.value)
                } else {
                    "write an address, a network, a range, `vlan:…`, `mac:…`, `segment:…` or a table"
                        .to_owned()
                };
                out.push(
                    Diagnostic::error(Code::BadMember, text.span, format!("`{}` is no member", text.value))
                        .help(help),
                );
                None
            }
        }
    }

    fn segment(&self, name: Located<&str>, out: &mut Vec<Diagnostic>) -> Option<Endpoint> {
        let id = self.segments.find(name, Code::UnknownSegment, out)?;
        Some(Endpoint::Member(Member::Segment(id)))
    }

    fn table(&self, row: &Row<'_>, out: &mut Vec<Diagnostic>) -> Option<Endpoint> {
        if !(row.has("vlan") || row.has("cidr") || row.has("mac")) {
            out.push(
                Diagnostic::error(Code::BadMember, row.span, "this member has no condition")
                    .help("give it at least one of `vlan`, `cidr` and `mac`, or write \"any\""),
            );
            return None;
        }
        let vlan = row.text("vlan").map(|reference| self.network.vlan(reference, out));
        let cidr = row.text("cidr").map(|text| scalar::range(text, out));
        let mac = row.text("mac").map(|text| scalar::mac(text, out));
        // A condition that could not be read must not widen the member: all of it is left out.
        let vlan = vlan.map_or(Some(None), |vlan| vlan.map(Some))?;
        let addresses = cidr.map_or(Some(Vec::new()), |range| range.map(|range| vec![range]))?;
        let macs = mac.map_or(Some(Vec::new()), |mac| mac.map(|mac| vec![mac]))?;
        Some(Endpoint::Member(Member::Selector(Selector { vlan, macs, addresses })))
    }
}
