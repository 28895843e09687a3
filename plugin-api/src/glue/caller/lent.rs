//! What the fake host lends to a plugin for one call.

use std::{fmt, ptr};

use crate::abi;
use crate::facts::Address;
use crate::testing::settings::{Given, Value};

const SERVICE: &str = "under-test";
const ENDPOINT: &str = "tcp://127.0.0.1:7";

/// Settings with all that their pointers point to. The rows are longer than today's, as a newer
/// host's would be: a plugin that ignores the stride reads nonsense.
pub(crate) struct LentSettings {
    pub(crate) raw: abi::Settings,
    _rows: Vec<Row>,
    _items: Vec<Vec<abi::Bytes>>,
    _values: Vec<Given>,
    _json: String,
    _endpoints: (Vec<String>, Vec<abi::Bytes>),
    _udp_ports: Vec<u16>,
}

#[repr(C)]
struct Row {
    value: abi::Value,
    of_a_newer_host: [u64; 2],
}

impl LentSettings {
    pub(crate) fn new(
        values: Vec<Given>,
        json: &str,
        worker: (u32, u32),
        endpoints: Vec<String>,
        udp_ports: Vec<u16>,
    ) -> Self {
        let mut items = Vec::new();
        let rows: Vec<Row> = values
            .iter()
            .map(|given| Row {
                value: value(given, &mut items),
                of_a_newer_host: [u64::MAX; 2],
            })
            .collect();
        let json = json.to_owned();
        let lent_endpoints: Vec<abi::Bytes> = endpoints.iter().map(|url| bytes(url)).collect();
        let raw = abi::Settings {
            size: size_of::<abi::Settings>() as u32,
            value_count: rows.len() as u32,
            value_stride: size_of::<Row>() as u32,
            worker_index: worker.0,
            worker_count: worker.1,
            generation: 1,
            service: bytes(SERVICE),
            values: rows.as_ptr().cast(),
            raw_json: bytes(&json),
            endpoints: lent_endpoints.as_ptr(),
            endpoint_count: lent_endpoints.len(),
            udp_ports: udp_ports.as_ptr(),
            udp_port_count: udp_ports.len(),
        };
        LentSettings {
            raw,
            _rows: rows,
            _items: items,
            _values: values,
            _json: json,
            _endpoints: (endpoints, lent_endpoints),
            _udp_ports: udp_ports,
        }
    }
}

/// The pointers go to the heap memory of `given` and `items`, which does not move with its owner.
fn value(given: &Given, items: &mut Vec<Vec<abi::Bytes>>) -> abi::Value {
    let mut raw = abi::Value {
        kind: given.kind,
        written: u32::from(given.written),
        number: 0,
        text: bytes(""),
        items: ptr::null(),
        item_count: 0,
    };
    match &given.value {
        Value::Text(text) => raw.text = bytes(text),
        Value::Number(number) => raw.number = *number,
        Value::List(list) => {
            let row: Vec<abi::Bytes> = list.iter().map(|item| bytes(item)).collect();
            raw.items = row.as_ptr();
            raw.item_count = row.len();
            items.push(row);
        }
    }
    raw
}

/// An empty text is lent as NULL: legal, and the case that is forgotten.
fn bytes(text: &str) -> abi::Bytes {
    let ptr = if text.is_empty() {
        ptr::null()
    } else {
        text.as_ptr()
    };
    abi::Bytes {
        ptr,
        len: text.len(),
    }
}

pub(crate) fn session_info(peer: Address, accepted_ms: u64) -> abi::SessionInfo {
    abi::SessionInfo {
        size: size_of::<abi::SessionInfo>() as u32,
        flags: 0,
        peer: peer.to_raw(),
        local: local().to_raw(),
        accepted_ms,
        endpoint: bytes(ENDPOINT),
        peer_pid: 0,
        peer_uid: 0,
        peer_gid: 0,
        reserved0: 0,
    }
}

pub(crate) fn datagram(
    peer: Address,
    local: Address,
    to_many: bool,
    reply_token: u64,
) -> abi::Datagram {
    abi::Datagram {
        size: size_of::<abi::Datagram>() as u32,
        flags: if to_many { abi::INFO_TO_MANY } else { 0 },
        peer: peer.to_raw(),
        local: local.to_raw(),
        reply_token,
        endpoint: bytes(ENDPOINT),
    }
}

fn local() -> Address {
    Address::Ip(([127, 0, 0, 1], 7).into())
}

/// The memory for a plugin's reason.
pub(crate) struct Message {
    memory: Box<[u8; 512]>,
    raw: abi::Text,
}

impl Message {
    pub(crate) fn new() -> Message {
        let mut memory = Box::new([0; 512]);
        let raw = abi::Text {
            ptr: memory.as_mut_ptr().cast(),
            cap: memory.len(),
            len: 0,
        };
        Message { memory, raw }
    }

    pub(crate) fn as_raw(&mut self) -> *mut abi::Text {
        &raw mut self.raw
    }

    /// What the status says, with the reason.
    pub(crate) fn refusal(self, status: abi::Status) -> Result<(), Refusal> {
        let Some(text) = self.memory.get(..self.raw.len) else {
            let text = "the plugin claims to have written more text than there is room";
            return Err(Refusal::Words(text.to_owned()));
        };
        match status {
            abi::OK => Ok(()),
            1.. => {
                let text = format!("the plugin answered {status}: success is 0");
                Err(Refusal::Words(text))
            }
            _ if text.is_empty() => Err(Refusal::Wordless(status)),
            _ => Err(Refusal::Words(String::from_utf8_lossy(text).into_owned())),
        }
    }
}

/// A plugin's no, or what is wrong with its answer.
#[derive(Debug)]
pub(crate) enum Refusal {
    Words(String),
    /// The status is all that it said.
    Wordless(abi::Status),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Words(why) => f.write_str(why),
            Refusal::Wordless(status) => write!(f, "refused with status {status}"),
        }
    }
}
