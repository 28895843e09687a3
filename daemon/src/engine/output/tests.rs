//! Output said in scripts, and taken at every length.
//!
//! Invariant: whatever a socket takes, the rest is what was said.

use super::*;

enum Say {
    Copy(&'static [u8]),
    Lend(Range<usize>),
    /// What others are told as well.
    Line(&'static [u8]),
}

/// Said in this order, taken so many at the first flush: the rest follows in order.
#[test]
fn what_is_said_leaves_in_order_wherever_the_socket_stops() {
    let lent: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
    let scripts: [&[Say]; 10] = [
        &[Say::Line(b"line")],
        &[Say::Line(b"line"), Say::Line(b"another")],
        &[Say::Copy(b"head"), Say::Line(b"line"), Say::Copy(b"tail")],
        &[Say::Line(b"line"), Say::Lend(0..2000)],
        &[
            Say::Line(b"line"),
            Say::Copy(b"x"),
            Say::Lend(0..5),
            Say::Line(b"y"),
        ],
        &[Say::Lend(0..5000)],
        &[Say::Copy(b"head"), Say::Lend(0..2000), Say::Copy(b"tail")],
        &[
            Say::Lend(0..10),
            Say::Lend(10..20),
            Say::Lend(30..40),
            Say::Lend(40..3000),
        ],
        &[
            Say::Copy(b"a"),
            Say::Lend(7..9),
            Say::Copy(b"b"),
            Say::Lend(1000..4000),
        ],
        &[
            Say::Lend(4000..5000),
            Say::Lend(0..1500),
            Say::Copy(b"x"),
            Say::Lend(2000..4000),
        ],
    ];
    for (row, script) in scripts.iter().enumerate() {
        let mut expected = Vec::new();
        for say in *script {
            match say {
                Say::Copy(bytes) | Say::Line(bytes) => expected.extend_from_slice(bytes),
                Say::Lend(range) => expected.extend_from_slice(&lent[range.clone()]),
            }
        }
        for first in 0..=expected.len() {
            let mut spares = Spares::default();
            let mut splices = Splices::default();
            let mut output = Output::default();
            for say in *script {
                match say {
                    Say::Copy(bytes) => output.push(bytes, &mut spares),
                    Say::Line(bytes) => {
                        let lines = &mut Lines::default();
                        output.push_line(bytes, &(0..bytes.len()), lines, &mut spares);
                    }
                    Say::Lend(range) => {
                        output.splice(range.clone(), &lent, &mut splices, &mut spares);
                    }
                }
            }
            let offered = output.pieces(&splices, &lent);
            let flat: Vec<u8> = offered.as_slice().iter().flat_map(|p| p.to_vec()).collect();
            assert_eq!(flat, expected, "row {row}: offered");
            output.taken(first, &mut splices, &lent, &mut spares);
            let rest = output.pieces(&splices, &[]);
            let flat: Vec<u8> = rest.as_slice().iter().flat_map(|p| p.to_vec()).collect();
            assert_eq!(flat, expected[first..], "row {row}: rest after {first}");
            assert_eq!(output.queued(), expected.len() - first);
            output.push(b"more", &mut spares);
            output.taken(expected.len() - first, &mut splices, &[], &mut spares);
            let rest = output.pieces(&splices, &[]);
            let flat: Vec<u8> = rest.as_slice().iter().flat_map(|p| p.to_vec()).collect();
            assert_eq!(flat, b"more", "row {row}: behind the rest after {first}");
        }
    }
}

#[test]
fn a_burst_that_many_are_told_is_there_once_until_it_is_long() {
    let mut spares = Spares::default();
    let mut outputs = [Output::default(), Output::default()];
    let said = [b'x'; 250];
    for line in 1..=20 {
        let lines = &mut Lines::default();
        for output in &mut outputs {
            output.push_line(&said, &(0..250), lines, &mut spares);
            assert_eq!(output.bytes(), 250 * line);
        }
        let [one, other] = outputs.each_ref().map(|output| output.line.as_ref());
        let shared = one
            .zip(other)
            .is_some_and(|(one, other)| Rc::ptr_eq(one, other));
        assert_eq!(shared, line <= 16, "{line}");
    }
}

#[test]
fn an_echo_line_by_line_is_one_piece() {
    let lent = [0u8; 1000];
    let mut splices = Splices::default();
    let mut output = Output::default();
    for line in 0..100 {
        let range = line * 10..line * 10 + 10;
        output.splice(range, &lent, &mut splices, &mut Spares::default());
    }
    assert_eq!(output.queued(), 0, "nothing was copied");
    assert_eq!(output.pieces(&splices, &lent).as_slice().len(), 1);
}

#[test]
fn an_offer_never_has_more_pieces_than_a_call_takes() {
    let lent = vec![7u8; 64 * 1024];
    let mut spares = Spares::default();
    let mut splices = Splices::default();
    let mut output = Output::default();
    let mut said = 0;
    for i in 0..30 {
        output.push(b"x", &mut spares);
        let range = i * 2048..i * 2048 + SPLICE_BYTES_MIN;
        output.splice(range, &lent, &mut splices, &mut spares);
        said += 1 + SPLICE_BYTES_MIN;
    }
    let offered = output.pieces(&splices, &lent);
    assert!(offered.as_slice().len() <= PIECES_MAX);
    assert_eq!(offered.len(), said);
}

#[test]
fn a_drained_output_holds_no_memory_and_its_buffer_serves_the_next() {
    let mut spares = Spares::default();
    let mut output = Output::default();
    output.push(b"answer", &mut spares);
    let buffer = output.queue.as_ptr();
    output.taken(6, &mut Splices::default(), &[], &mut spares);
    assert_eq!(output.queue.capacity(), 0);
    let mut next = Output::default();
    next.push(b"another", &mut spares);
    assert_eq!(next.queue.as_ptr(), buffer);
}
