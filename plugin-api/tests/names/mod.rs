//! The C spelling of a Rust type, found by the compiler and not by reading source text: a field's
//! type chooses the impl, so a binding that changes its type changes what is printed.

use std::ffi::{c_char, c_void};

use polyport_plugin::abi;

pub(crate) trait Names {
    const NAME: &'static str;
    /// A function has no constant name: it is put together from its parameters.
    fn name() -> String {
        Self::NAME.to_owned()
    }
}

/// Size and C name of the type of a field.
pub(crate) fn declared_type<S, F: Names>(_field: impl FnOnce(&S) -> &F) -> (usize, String) {
    (size_of::<F>(), F::name())
}

macro_rules! names {
    ($($type:ty = $name:literal,)*) => {
        $(impl Names for $type { const NAME: &'static str = $name; })*
    };
}

names! {
    () = "void",
    u8 = "uint8_t",
    u16 = "uint16_t",
    *const u16 = "const uint16_t *",
    u32 = "uint32_t",
    u64 = "uint64_t",
    i32 = "int32_t",
    i64 = "int64_t",
    usize = "size_t",
    [u8; 16] = "uint8_t[16]",
    *const u8 = "const uint8_t *",
    *mut u64 = "uint64_t *",
    *mut u32 = "uint32_t *",
    *const u64 = "const uint64_t *",
    *mut u8 = "uint8_t *",
    *mut usize = "size_t *",
    *const c_char = "const char *",
    *mut c_char = "char *",
    *const *const c_char = "const char *const *",
    *const c_void = "const void *",
    *mut c_void = "void *",
    *mut *mut c_void = "void **",
    abi::Bytes = "pp_bytes",
    *const abi::Bytes = "const pp_bytes *",
    abi::Address = "pp_address",
    *const abi::Address = "const pp_address *",
    *mut abi::Text = "pp_text *",
    *const abi::Settings = "const pp_settings *",
    *const abi::SessionInfo = "const pp_session_info *",
    *const abi::Datagram = "const pp_datagram *",
    *const abi::BusMessage = "const pp_bus_message *",
    *const abi::Metric = "const pp_metric *",
    *const abi::Stream = "const pp_stream *",
    *const abi::HostApi = "const pp_host_api *",
    *const abi::Plugin = "const pp_plugin *",
    *mut abi::Host = "pp_host *",
    *mut abi::Waker = "pp_waker *",
    *mut *mut abi::Waker = "pp_waker **",
}

macro_rules! function_names {
    ($($letter:ident),*) => {
        impl<R: Names, $($letter: Names),*> Names
            for Option<unsafe extern "C" fn($($letter),*) -> R>
        {
            const NAME: &'static str = "a function";
            fn name() -> String {
                let parameters: Vec<String> = vec![$($letter::name()),*];
                format!("{} ({})", R::name(), parameters.join(", "))
            }
        }
    };
}

function_names!(A);
function_names!(A, B);
function_names!(A, B, C);
function_names!(A, B, C, D);
function_names!(A, B, C, D, E);
function_names!(A, B, C, D, E, F);
function_names!(A, B, C, D, E, F, G, H);
