//! The slow twin of the TCP tracker: TRACKING.md §1.3, §1.4 and §1.6, line by line, for one flow.
//!
//! It is written for the reader alone: wide fields, no packing, nothing shared with the tracker. It knows neither
//! `pickup` nor `simultaneous_open`, and its policy allows everything. Tests of this crate play random connections
//! against it, and the fuzz target `tcp` those that a fuzzer makes up.

#[cfg(test)]
mod tests;

/// What a segment gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Drop,
    Forward,
    Reply,
    New,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum St {
    Ss,
    Sr,
    Es,
    Fw,
    Cw,
    La,
    Tw,
    Cl,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Syn,
    SynAck,
    Ack,
    Fin,
    Rst,
    RstAck,
}

/// A segment. `host` is who sends it, 0 or 1; of the options only those that count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Segment {
    pub(crate) host: usize,
    pub(crate) kind: Kind,
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) win: u16,
    pub(crate) len: u16,
    pub(crate) scale: Option<u8>,
    pub(crate) sack_permitted: bool,
    pub(crate) sack: Option<(u32, u32)>,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HalfFlow {
    pub(crate) end: u32,
    pub(crate) maxend: u32,
    pub(crate) maxwin: u32,
    pub(crate) maxack: Option<u32>,
    pub(crate) scale: Option<u8>,
    pub(crate) sack: bool,
    pub(crate) fin: bool,
    pub(crate) unacked: bool,
    /// It sent a FIN or RST out of the window, and nothing has moved since.
    pub(crate) strayed: bool,
}

/// The flow.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) opener: usize,
    pub(crate) state: St,
    pub(crate) isn: u32,
    /// By role: the opener, then the responder.
    pub(crate) sides: [HalfFlow; 2],
    pub(crate) alt: Option<Segment>,
    pub(crate) stray_at: Option<u64>,
    pub(crate) expects_challenge: bool,
    pub(crate) is_assured: bool,
    pub(crate) last: Option<(usize, u32, u32, u32, u16)>,
    pub(crate) repeats: u32,
    pub(crate) deadline: u64,
}

fn before(a: u32, b: u32) -> bool {
    a.wrapping_sub(b) > 0x7fff_ffff
}
fn max(a: u32, b: u32) -> u32 {
    if before(a, b) { b } else { a }
}
fn between(x: u32, first: u32, last: u32) -> bool {
    !before(x, first) && !before(last, x)
}

/// The largest window: 65,535 at scale 14.
const LARGEST: u64 = 65_535 << 14;

impl Segment {
    fn end(&self) -> u32 {
        let flag = u32::from(matches!(self.kind, Kind::Syn | Kind::SynAck | Kind::Fin));
        self.seq.wrapping_add(u32::from(self.len)).wrapping_add(flag)
    }
    fn first_side(&self) -> HalfFlow {
        HalfFlow {
            end: self.end(),
            maxend: self.end(),
            maxwin: u32::from(self.win).max(1),
            scale: self.scale.map(|scale| scale.min(14)),
            sack: self.sack_permitted,
            ..HalfFlow::default()
        }
    }
}

impl Model {
    pub(crate) fn open(now: u64, syn: &Segment) -> Model {
        Model {
            opener: syn.host,
            state: St::Ss,
            isn: syn.seq,
            sides: [syn.first_side(), HalfFlow::default()],
            alt: None,
            stray_at: None,
            expects_challenge: false,
            is_assured: false,
            last: None,
            repeats: 0,
            deadline: now + 20_000,
        }
    }

    fn timeout(&self) -> u64 {
        let seconds = match self.state {
            St::Ss => 20,
            St::Sr | St::La => 30,
            St::Es => 7440,
            St::Fw | St::Tw => 120,
            St::Cw => 60,
            St::Cl => 10,
        };
        let is_shortened = self.sides[0].unacked || self.sides[1].unacked || self.repeats >= 3;
        1000 * if is_shortened { seconds.min(300) } else { seconds }
    }

    /// PASS_UPDATE.
    fn update(&mut self, now: u64, passed: Verdict) -> Verdict {
        self.deadline = now + self.timeout();
        passed
    }

    /// A FIN or RST out of the window; answered by one of the other side it shortens the timer.
    fn stray(&mut self, now: u64, me: usize) -> Verdict {
        if self.is_assured && self.sides[1 - me].strayed {
            self.deadline = self.deadline.min(now + 300_000);
        } else if self.is_assured {
            self.sides[me].strayed = true;
        }
        Verdict::Drop
    }

    /// What a segment gets, where the flow lives. `None` in the second place: the flow is gone.
    pub(crate) fn judge(mut self, now: u64, segment: &Segment) -> (Verdict, Option<Model>) {
        let me = usize::from(segment.host != self.opener);
        let passed = if me == 0 { Verdict::Forward } else { Verdict::Reply };
        let expected = std::mem::take(&mut self.expects_challenge);
        let verdict = match segment.kind {
            Kind::Syn if matches!(self.state, St::Tw | St::Cl) => {
                return (Verdict::New, Some(Model::open(now, segment)));
            }
            Kind::Syn if me == 1 => Verdict::Drop,
            Kind::Syn => self.syn(now, segment),
            Kind::SynAck if me == 0 && self.state == St::Ss => Verdict::Drop,
            Kind::SynAck if me == 0 => passed,
            Kind::SynAck => self.syn_ack(now, segment),
            Kind::Rst | Kind::RstAck if self.state == St::Ss => {
                let alt_end = self.alt.map(|alt| alt.end());
                let acks = segment.kind == Kind::RstAck
                    && (segment.ack == self.sides[0].end || Some(segment.ack) == alt_end);
                if me == 1 && acks {
                    return (passed, None);
                }
                if me == 0 { passed } else { Verdict::Drop }
            }
            Kind::Rst | Kind::RstAck => self.rst(now, me, segment, passed),
            Kind::Ack if me == 1 && self.state == St::Ss && segment.len == 0 => passed,
            Kind::Ack | Kind::Fin if self.state == St::Ss => Verdict::Drop,
            Kind::Ack
                if expected
                    && (me, self.state, segment.len) == (1, St::La, 0)
                    && Some(segment.ack) == self.sides[1].maxack =>
            {
                passed
            }
            Kind::Ack | Kind::Fin => self.ack_or_fin(now, me, segment, passed),
        };
        (verdict, Some(self))
    }

    fn syn(&mut self, now: u64, segment: &Segment) -> Verdict {
        if self.state == St::Ss {
            if segment.seq == self.isn {
                let side = &mut self.sides[0];
                side.end = max(side.end, segment.end());
                side.maxend = side.end;
            } else {
                self.alt = Some(*segment);
            }
            return self.update(now, Verdict::Forward);
        }
        if self.stray_at.is_some_and(|at| now - at < 500) {
            return Verdict::Drop;
        }
        self.stray_at = Some(now);
        self.expects_challenge = true;
        // The first SYN come again is no other one; once the opener has acknowledged, it is known as that only
        // as long as no other came between.
        let is_first = segment.seq == self.isn && (self.alt.is_none() || self.sides[0].maxack.is_none());
        if !is_first {
            self.alt = Some(*segment);
        }
        Verdict::Forward
    }

    fn syn_ack(&mut self, now: u64, segment: &Segment) -> Verdict {
        let acks = |isn: u32, end: u32| between(segment.ack, isn.wrapping_add(1), end);
        let of_first = acks(self.isn, self.sides[0].end);
        let of_alt = self.alt.filter(|alt| acks(alt.seq, alt.end()));
        match self.state {
            St::Ss if of_first => {}
            St::Sr if of_first => return Verdict::Reply,
            St::Ss | St::Sr if of_alt.is_none() => return Verdict::Drop,
            _ if of_alt.is_none() => return Verdict::Reply,
            _ => {
                let alt = of_alt.expect("it was looked at");
                self.sides[0] = alt.first_side();
                self.isn = alt.seq;
            }
        }
        self.alt = None;
        self.is_assured = false;
        (self.last, self.repeats) = (None, 0);
        let [opener, responder] = &mut self.sides;
        *responder = HalfFlow { maxack: Some(segment.ack), ..segment.first_side() };
        if opener.scale.is_none() || responder.scale.is_none() {
            (opener.scale, responder.scale) = (None, None);
        }
        let granted = segment.seq.wrapping_add(1).wrapping_add(opener.maxwin);
        responder.maxend = max(responder.maxend, granted);
        opener.maxend = max(opener.maxend, segment.ack.wrapping_add(u32::from(segment.win).max(1)));
        opener.unacked = segment.ack != opener.end;
        self.state = St::Sr;
        self.update(now, Verdict::Reply)
    }

    fn rst(&mut self, now: u64, me: usize, segment: &Segment, passed: Verdict) -> Verdict {
        if self.state == St::Tw {
            return passed;
        }
        let (snd, rcv) = (self.sides[me], self.sides[1 - me]);
        let is_exact = segment.seq == snd.end || Some(segment.seq) == rcv.maxack;
        let first = rcv.maxack.unwrap_or(snd.end.wrapping_sub(rcv.maxwin));
        if !is_exact && !between(segment.seq, first, snd.maxend) {
            return self.stray(now, me);
        }
        let any_will_do = matches!(self.state, St::Cw | St::La);
        if self.state == St::Cl || !is_exact && !any_will_do {
            return passed;
        }
        self.state = St::Cl;
        self.update(now, passed)
    }

    fn ack_or_fin(&mut self, now: u64, me: usize, segment: &Segment, passed: Verdict) -> Verdict {
        let (snd, rcv) = (self.sides[me], self.sides[1 - me]);
        let win = u32::from(segment.win) << snd.scale.unwrap_or(0);
        let mut sack = segment.ack;
        if let Some((_, edge)) = segment.sack.filter(|_| rcv.sack) {
            sack = max(sack, edge);
        }
        let (mut seq, mut end) = (segment.seq, segment.end());
        if seq == end {
            (seq, end) = (snd.end, snd.end);
        }
        let one = !before(snd.maxend, seq);
        let two = !before(end, snd.end.wrapping_sub(rcv.maxwin));
        let three = !before(rcv.end, sack);
        let four = !before(sack, rcv.end.wrapping_sub(snd.maxwin.max(66_000)));
        let is_fin = segment.kind == Kind::Fin;
        if !one {
            if two && three && four && end.wrapping_sub(snd.maxend).wrapping_add(1) <= rcv.maxwin {
                self.sides[me].end = end;
                self.sides[me].unacked = true;
                return passed;
            }
            return if is_fin { self.stray(now, me) } else { Verdict::Drop };
        }
        if !two {
            return passed;
        }
        if !three {
            return if is_fin { self.stray(now, me) } else { Verdict::Drop };
        }
        if !four || is_fin && (before(end, snd.end) || snd.fin && end == snd.end) {
            return passed;
        }
        self.move_windows(me, segment, (win, sack, end));
        self.move_state(me, is_fin);
        self.update(now, passed)
    }

    fn move_windows(&mut self, me: usize, segment: &Segment, (win, sack, end): (u32, u32, u32)) {
        let (mut snd, mut rcv) = (self.sides[me], self.sides[1 - me]);
        let offered = (u64::from(win) + u64::from(sack.wrapping_sub(segment.ack))).min(LARGEST);
        snd.maxwin = snd.maxwin.max(offered as u32).max(1);
        if before(snd.maxend, end) {
            let more = u64::from(rcv.maxwin) + u64::from(end.wrapping_sub(snd.maxend));
            rcv.maxwin = more.min(LARGEST) as u32;
        }
        if before(snd.end, end) {
            snd.end = end;
            snd.unacked = true;
        }
        snd.maxack = Some(snd.maxack.map_or(segment.ack, |old| max(old, segment.ack)));
        rcv.maxend = max(rcv.maxend, sack.wrapping_add(win.max(1)));
        if segment.ack == rcv.end {
            rcv.unacked = false;
        }
        (self.sides[me], self.sides[1 - me]) = (snd, rcv);
        let this = (me, segment.seq, segment.ack, end, segment.win);
        let is_again = segment.len > 0 && self.last == Some(this);
        self.repeats = if is_again { self.repeats + 1 } else { 0 };
        self.last = (segment.len > 0).then_some(this);
    }

    fn move_state(&mut self, me: usize, is_fin: bool) {
        self.state = match (self.state, is_fin) {
            (St::Sr | St::Es, true) => St::Fw,
            (St::Fw | St::Cw, true) if !self.sides[me].fin => St::La,
            (St::Sr, false) if me == 0 => St::Es,
            (St::Fw, false) => St::Cw,
            (St::La, false) => St::Tw,
            (state, _) => state,
        };
        self.sides[me].fin |= is_fin;
        self.sides[0].strayed = false;
        self.sides[1].strayed = false;
        self.is_assured |= self.sides.iter().all(|side| side.maxack.is_some());
    }
}
