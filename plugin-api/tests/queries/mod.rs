//! What the tutorial's finger is asked and answers, whatever it is written in.

pub(crate) const PEOPLE: &str = "grace: Writes a compiler., ada: Is away.";

pub(crate) const ROWS: [(&str, &str); 8] = [
    ("grace\r\n", "grace: Writes a compiler.\r\n"),
    ("/W ada\r\n", "ada: Is away.\r\n"),
    ("  ada \n", "ada: Is away.\r\n"),
    ("\r\n", "grace\r\nada\r\n"),
    ("/W\r\n", "grace\r\nada\r\n"),
    ("gr\r\n", "Nobody of that name is here.\r\n"),
    (
        "grace@example.org\r\n",
        "Finger forwarding service denied.\r\n",
    ),
    ("grace", ""),
];
