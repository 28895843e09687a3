//! A member on its way to another worker, as bytes.
//!
//! Whoever reads them may be another version, and whoever wrote them may have been taken over:
//! invariant: a member that comes out of [`import`] keeps every rule that one which logs in keeps.

use std::rc::Rc;

use polyport_plugin::{Address, SessionId};

use crate::format::{Form, Times};
use crate::line::Half;
use crate::mail::{Along, Letter};
use crate::member::{Id, Member, Stage, Stay};
use crate::names;
use crate::pace::Pace;
use crate::rules::Order;
use crate::sanitise;
use crate::settings::Choices;
use crate::telnet::Telnet;
use crate::waiting::Ordered;

/// Of what is written here; another one for every change of it.
pub(crate) const FORMAT: u32 = 5;
/// Of private lines without a receipt; more are left behind.
const LETTERS_BYTES_MAX: usize = 32 * 1024;

/// What the new worker has to ask the bus for.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) member: Member,
    /// The nick that was asked for and not granted yet.
    pub(crate) wants: Option<String>,
    /// Its password was being looked at.
    pub(crate) proving: bool,
    /// What it had ordered and was not told of yet.
    pub(crate) order: Option<Ordered>,
    /// Private lines that it has written and has no receipt for.
    pub(crate) letters: Vec<Along>,
    /// How many more of them there were.
    pub(crate) left_behind: u32,
}

/// `pace_left` is what it may say at this moment.
pub(crate) fn export(
    member: &Member,
    order: Option<&Ordered>,
    letters: &[Along],
    pace_left: f32,
    out: &mut Vec<u8>,
) {
    let mut put = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(bytes);
    };
    for text in [member.id.text(), &member.token, &member.nick] {
        put(text.as_bytes());
    }
    let wants = member.wanted.as_ref().map_or("", |wanted| &wanted.nick);
    put(wants.as_bytes());
    put(&member.telnet.export());
    put(&member.half.bytes);
    let flags = [
        member.half.too_long,
        member.half.after_return,
        member.form.json,
        member.form.color,
        member.quiet,
        member.echo,
        member.operator,
        member.latin1,
        member.may_resume,
        member.finished,
        member.stage == Stage::Left,
        member.away.is_some(),
        member.stage == Stage::Proving,
    ];
    put(&flags.map(u8::from));
    put(&[
        member.form.times as u8,
        member.tries,
        u8::try_from(member.current).unwrap_or(0),
    ]);
    put(&member.since_ms.to_be_bytes());
    put(&pace_left.to_be_bytes());
    put(member.away.as_deref().unwrap_or_default().as_bytes());
    let (partner_id, partner) = member.partner.as_deref().cloned().unwrap_or_default();
    put(partner_id.as_bytes());
    put(partner.as_bytes());
    put(member.ignored.join("\t").as_bytes());
    put(order.map_or(&[], |it| &it.id));
    put(order.map_or(&[], |it| &it.bytes));
    let mut room = LETTERS_BYTES_MAX;
    let texts: Vec<String> = letters.iter().map(|it| it.letter.encode()).collect();
    let fits = |(along, text): &(&Along, &String)| {
        let left = room.checked_sub(along.key.len() + text.len() + 16);
        left.map(|left| room = left).is_some()
    };
    let fitting: Vec<_> = letters.iter().zip(&texts).take_while(fits).collect();
    let counts = [fitting.len(), letters.len() - fitting.len()];
    for count in counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)) {
        put(&count.to_be_bytes());
    }
    for (along, text) in fitting {
        put(along.key.as_bytes());
        put(&[u8::from(along.is_followed)]);
        put(text.as_bytes());
    }
    for stay in &member.stays {
        put(stay.room.as_bytes());
        // Carried once more before its room was there, it has still seen what it had.
        let is_new = stay.waits && !stay.carried;
        let seen = if is_new { 0 } else { stay.seen + 1 };
        put(&seen.to_be_bytes());
    }
}

pub(crate) fn import(
    bytes: &[u8],
    session: SessionId,
    address: Address,
    choices: &Choices,
    now_ms: u64,
) -> Option<Arrived> {
    let mut rest = bytes;
    let mut take = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (field, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(field)
    };
    let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(sanitise::clean);
    let mut member = Member::new(session, address, Pace::new(choices.rate, now_ms), 0);
    member.id = Id::of(take()?)?;
    member.token = hexadecimal(take()?, 32)?;
    let nick = text(take()?)?;
    let wants = text(take()?)?;
    member.telnet = Telnet::import(take()?)?;
    let half = take()?.to_vec();
    let flags = <[u8; 13]>::try_from(take()?).ok()?.map(|flag| flag == 1);
    let [times, tries, current] = <[u8; 3]>::try_from(take()?).ok()?;
    member.since_ms = u64::from_be_bytes(take()?.try_into().ok()?);
    let pace_left = f32::from_be_bytes(take()?.try_into().ok()?);
    member.pace = Pace::with(pace_left, choices.rate, now_ms)?;
    let (away, partner_id, partner) = (text(take()?)?, take()?, text(take()?)?);
    let ignored = take()?;
    let ignored = std::str::from_utf8(ignored).ok()?;
    let (id, bytes) = (take()?.to_vec(), take()?.to_vec());
    let order = (!id.is_empty()).then_some(Ordered { id, bytes });
    let count = u32::from_be_bytes(take()?.try_into().ok()?);
    let left_behind = u32::from_be_bytes(take()?.try_into().ok()?);
    let mut letters = Vec::new();
    for _ in 0..count {
        let along = Along {
            key: std::str::from_utf8(take()?).ok()?.to_owned(),
            is_followed: take()? == [1],
            letter: Letter::decode(take()?)?,
        };
        let is_own = *along.letter.from_id == *member.id.text();
        if !is_own || !names::is_nick(&along.letter.from, choices.nick_max) {
            return None;
        }
        letters.push(along);
    }
    while let Some(room) = take() {
        let room = names::room(&text(room)?).ok()?;
        let seen = u64::from_be_bytes(take()?.try_into().ok()?);
        if member.stays.len() >= crate::ROOMS_MAX || member.stay(&room).is_some() {
            return None;
        }
        member.stays.reserve_exact(1);
        member.stays.push(Stay {
            room: Rc::from(room),
            seen: seen.saturating_sub(1),
            waits: true,
            carried: seen > 0,
        });
    }
    if half.len() > choices.line_bytes_max() {
        return None;
    }
    for nick in [&nick, &wants] {
        if !nick.is_empty() && !names::is_nick(nick, choices.nick_max) {
            return None;
        }
    }
    member.nick = nick.into();
    member.half = Half {
        bytes: half,
        too_long: flags[0],
        after_return: flags[1],
    };
    member.form = Form {
        json: flags[2],
        color: flags[3],
        times: match times {
            1 => Times::Minutes,
            2 => Times::Iso,
            _ => Times::Off,
        },
    };
    (member.quiet, member.echo, member.operator) = (flags[4], flags[5], flags[6]);
    (member.latin1, member.may_resume, member.finished) = (flags[7], flags[8], flags[9]);
    member.stage = match (flags[10], wants.is_empty(), member.is_named()) {
        (true, ..) => Stage::Left,
        (false, false, _) => Stage::Claiming,
        (false, true, true) if order.is_some() => Stage::Ordering,
        (false, true, true) => Stage::Talking,
        (false, true, false) => Stage::Nick,
    };
    if let Some(order) = &order {
        let known = Order::decode(&order.bytes)?;
        if !member.operator || matches!(known, Order::Topic { .. }) {
            return None;
        }
    }
    member.away = flags[11].then(|| away.into());
    let partner_id = Id::of(partner_id).filter(|_| !partner.is_empty());
    member.partner = partner_id.map(|id| Box::new((id.text().to_owned(), partner)));
    member.ignored = ignored
        .split('\t')
        .filter(|nick| !nick.is_empty())
        .take(crate::IGNORED_MAX)
        .map(|nick| sanitise::clean(nick).into())
        .collect();
    member.tries = tries;
    member.current = usize::from(current).min(member.stays.len().saturating_sub(1));
    let wants = (!wants.is_empty()).then_some(wants);
    Some(Arrived {
        member,
        wants,
        proving: flags[12],
        order,
        letters,
        left_behind,
    })
}

fn hexadecimal(bytes: &[u8], digits: usize) -> Option<Box<str>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let is_it = text.len() == digits && text.bytes().all(|it| it.is_ascii_hexdigit());
    is_it.then(|| text.into())
}
