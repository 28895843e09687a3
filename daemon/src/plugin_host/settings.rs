//! Chosen settings in the shape that a plugin reads, for the length of one call.
//!
//! Invariant: every pointer in the `abi::Settings` points into memory that the surrounding call
//! keeps alive; the plugin may not keep any.

use std::mem::size_of;
use std::ptr::null;

use polyport_plugin::abi;

use super::options::{Chosen, ChosenValue, Typed};

/// Which instance it is.
#[derive(Clone, Copy, Debug)]
pub struct InstanceFacts<'a> {
    pub service: &'a str,
    pub worker_index: u16,
    pub worker_count: u16,
    pub generation: u32,
    /// The service's own, as URLs in numbers.
    pub endpoints: &'a [String],
    /// What the daemon serves, in all its services.
    pub udp_ports: &'a [u16],
}

/// Calls with the settings in C's shape.
pub(super) fn lend<R>(
    chosen: &Chosen,
    facts: &InstanceFacts<'_>,
    call: impl FnOnce(*const abi::Settings) -> R,
) -> R {
    let items: Vec<Vec<abi::Bytes>> = chosen.values.iter().map(items).collect();
    let values: Vec<abi::Value> = chosen
        .values
        .iter()
        .zip(&items)
        .map(|(chosen, items)| value(chosen, items))
        .collect();
    let endpoints: Vec<abi::Bytes> = facts.endpoints.iter().map(|url| bytes(url)).collect();
    let settings = abi::Settings {
        size: size_of::<abi::Settings>() as u32,
        value_count: values.len() as u32,
        value_stride: size_of::<abi::Value>() as u32,
        worker_index: facts.worker_index.into(),
        worker_count: facts.worker_count.into(),
        generation: facts.generation,
        service: bytes(facts.service),
        values: values.as_ptr().cast(),
        raw_json: bytes(&chosen.raw_json),
        endpoints: endpoints.as_ptr(),
        endpoint_count: endpoints.len(),
        udp_ports: facts.udp_ports.as_ptr(),
        udp_port_count: facts.udp_ports.len(),
    };
    call(&settings)
}

fn items(chosen: &ChosenValue) -> Vec<abi::Bytes> {
    match &chosen.value {
        Typed::List(items) => items.iter().map(|item| bytes(item)).collect(),
        _ => Vec::new(),
    }
}

fn value(chosen: &ChosenValue, items: &[abi::Bytes]) -> abi::Value {
    let text = match &chosen.value {
        Typed::Text(text) => text,
        _ => "",
    };
    abi::Value {
        kind: chosen.kind.word(),
        written: chosen.written.into(),
        number: chosen.value.number().unwrap_or(0),
        text: bytes(text),
        items: if items.is_empty() {
            null()
        } else {
            items.as_ptr()
        },
        item_count: items.len(),
    }
}

pub(super) fn bytes(text: &str) -> abi::Bytes {
    abi::Bytes {
        ptr: text.as_ptr(),
        len: text.len(),
    }
}
