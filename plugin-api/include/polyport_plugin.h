/* polyport_plugin.h - what a plugin and Polyport say to each other. Plugin ABI, major 1, minor 0.
 *
 * A plugin is a shared library that exports one function, polyport_plugin_v1(). It returns a
 * constant table; the host hands its own table to `create`. A plugin imports no symbol of the host,
 * opens no socket for its peers and needs no thread: it is a set of callbacks over bytes.
 * This file is the source of truth. It is C99 and C++11, for 64-bit little-endian machines; the Rust
 * package is checked against it.
 *
 * THE PROMISE. Major 1 is frozen. A plugin built with this file loads in every later daemon that has
 * major 1, whatever compiler, language or release built either side, and finds what is written here.
 *   - What never changes: the name, place, type and meaning of what is here; when and on which thread
 *     a function is called; who owns a pointer and until when; what each status means; what may be
 *     NULL; that numbers called _MAX, _BYTES, _RANGES or PP_REPLIES are at least as large as here.
 *   - What may be added, with a new minor: fields and functions at the end of pp_host_api, pp_plugin,
 *     pp_option, pp_value, pp_settings, pp_session_info, pp_datagram, pp_bus_message, pp_stream and
 *     pp_metric; enumerators, flags and statuses; extensions. Everything else keeps its size for good:
 *     what is passed by value, and the tables of an extension. An extension is changed by a successor
 *     with the next revision, "polyport.<name>/2", beside which the first one stays.
 *   - A change that breaks any of this is a new major, with an entry of another name. A plugin may
 *     export several entries, and a host may look for several.
 *
 * SIZES AND MINORS. Whatever may grow tells its length: `size` is sizeof the struct as its maker knew
 *   it, and rows that follow each other tell a stride. Nobody reads behind what was told, and what is
 *   missing counts as 0 or NULL. Ask with PP_HAS before using what is newer than the minor that you
 *   demand. `min_host_minor` is that minor: the oldest host that will do, mostly 0.
 *   - A newer plugin in an older host is loaded if its min_host_minor, its flags and its required_ext
 *     are known there, and is refused with the number, bits or id that is not. What lies behind the
 *     end of the pp_plugin that the host knows is not looked at. An extension that the host has not is
 *     NULL.
 *   - An older plugin in a newer host is loaded. What its table does not have is NULL, and does what
 *     the comment calls the default; a function that came later always has such a default.
 *   - A plugin of another major, or of the time before the freeze (polyport_plugin_v0), is refused
 *     with the names of both entries.
 *   - Unknown values: a plugin ignores enumerators and flags of the host that it does not know; the
 *     host refuses those of a plugin, with PP_E_ARG or when it is loaded. A negative status that nobody
 *     knows counts as PP_E_FAIL, a positive one as PP_OK. Reserved fields are 0, and a host refuses a
 *     plugin that says otherwise.
 *
 * EXTENSIONS that are final: needs/1, blocking/1, work/1, file/1, carry/1, bus/1, metrics/1. Two names
 *   are kept for drafts, and nothing of them is here: polyport.connect/1 (connections that a plugin
 *   opens, as sessions) and polyport.tls-info/1 (what a session's encryption is).
 *
 * THREADS AND CALLS. Each function below carries the marks of where it may be called:
 *   [any]     from any thread, at any time, even after `destroy`
 *   [create]  by the plugin, while the host is inside its `create`
 *   [cb]      by the plugin, while the host is inside any other callback of the same instance
 *   [probe]   by the host, in a process that serves nobody and before the sandbox is closed
 *   [loop]    by the host, on the one event-loop thread of a worker
 *   [thread]  by the host, on one of its own threads that may block
 *   [inside]  by the plugin, on that thread, until the [thread] function has returned
 *   Callbacks marked [loop] never overlap in one instance, and the same thread makes all of them.
 *   Calling the host from one never re-enters the plugin: what is asked for happens after it has
 *   returned. It must not block; every session of the worker waits for it. Functions marked [thread]
 *   may block, and overlap each other and the callbacks of the loop. A host function that is called
 *   from a thread or at a time without its mark answers PP_E_THREAD and does nothing. Threads of the plugin start
 *   in `create` at the earliest and are joined before `destroy` returns. Plugins do not fork, exit,
 *   install signal handlers or change directory, umask or locale.
 *
 * OWNERSHIP. The caller owns every pointer that it passes, and the callee may read it only until it
 *   returns; the exceptions are marked at their function. Nobody frees what the other side made.
 *   Texts are UTF-8. A text or a byte range is a pointer and a length, and the pointer may be NULL
 *   only when the length is 0; only names that are constants end in NUL. No exception, no panic and
 *   no longjmp may cross this border.
 *
 * NULL. A function of the plugin's table may be NULL: then the host does what its comment calls the
 *   default. Sessions and timers are numbers (slot and epoch), not addresses: one that has ended is
 *   noticed and answered with PP_E_GONE. 0 is never a valid one.
 */
#ifndef POLYPORT_PLUGIN_H
#define POLYPORT_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#if UINTPTR_MAX != 0xffffffffffffffffu
#error "the plugin ABI is defined for 64-bit machines only"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define PP_MAGIC 0x474c5050u /* the bytes "PPLG" in memory */
#define PP_MAJOR 1
#define PP_MINOR 0 /* of this file; a plugin may demand less: see min_host_minor */

/* Does the other side's table have this function or pointer, and is it set? */
#define PP_HAS(type, table, field) \
  ((table)->size >= offsetof(type, field) + sizeof((table)->field) && (table)->field != 0)

/* ---- numbers ---------------------------------------------------------------------------------
 * The enumerations give names only: what crosses the border is the integer type said beside each. */

typedef int32_t pp_status;   /* PP_OK or one of PP_E_* */
typedef uint64_t pp_session; /* one connection or flow, as the plugin sees it */
typedef uint64_t pp_timer;

enum {
  PP_OK = 0,
  PP_E_FAIL = -1,        /* no better word; also any negative number not listed here */
  PP_E_ARG = -2,         /* an argument that this header forbids */
  PP_E_UNSUPPORTED = -3, /* this side, this kernel or this transport cannot */
  PP_E_GONE = -4,        /* the session, timer or instance has ended */
  PP_E_FULL = -5,        /* a limit is reached; nothing was done */
  PP_E_CONFIG = -6,      /* the settings are refused; the text says which and why */
  PP_E_PANIC = -7,       /* glue caught a panic or an exception of its plugin */
  PP_E_CANCELLED = -8,   /* given up because the instance drains */
  PP_E_TIMEOUT = -9,
  PP_E_THREAD = -10,     /* called from a thread that may not */
  PP_E_BUSY = -11        /* too much waits already; nothing was done */
};

enum { PP_LOG_DEBUG = 0, PP_LOG_INFO = 1, PP_LOG_WARNING = 2, PP_LOG_ERROR = 3 }; /* uint32_t */

enum {                /* uint32_t, for close */
  PP_CLOSE_FINISH = 0, /* send what is queued, then FIN */
  PP_CLOSE_ABORT = 1,  /* forget what is queued and reset */
  PP_CLOSE_DONE = 2    /* send what is queued, then FIN, and do not wait for the peer's */
};

enum { PP_WRITE_FINISH = 1 }; /* uint32_t flags, for write: half-close after these bytes */

enum {              /* uint32_t, why a session ended */
  PP_END_FINISHED = 1, /* both sides finished in order */
  PP_END_ABORTED = 2,  /* the plugin asked for it, or a callback answered with an error */
  PP_END_LOST = 3,     /* the peer reset the connection or vanished */
  PP_END_IDLE = 4,     /* no byte either way for too long */
  PP_END_LIMIT = 5,    /* a limit was passed; the log names it */
  PP_END_DRAIN = 6,    /* the worker's time to drain was over */
  PP_END_FAULT = 7,    /* the plugin broke a rule of this header, or reported a fault */
  PP_END_FILE = 8,     /* a file that was being sent became shorter, or could not be read */
  PP_END_CARRIED = 9   /* it goes on in another worker: the peer has noticed nothing */
};

/* uint64_t flags of a plugin. An unknown one is refused when the plugin is loaded. */
enum { PP_PEER_FIRST = 1 }; /* the peer speaks first: `open` may wait until it has */

enum {             /* uint32_t, kinds of options and values */
  PP_KIND_TEXT = 1,
  PP_KIND_INTEGER = 2,
  PP_KIND_BOOLEAN = 3,  /* number is 0 or 1 */
  PP_KIND_DURATION = 4, /* written "10s"; number is milliseconds */
  PP_KIND_SIZE = 5,     /* written "64KiB"; number is bytes */
  PP_KIND_LIST = 6      /* of texts; in default_text they are separated by commas */
};

enum {                 /* uint32_t flags of a session's or a datagram's facts */
  PP_INFO_CREDENTIALS = 1, /* peer_pid, peer_uid and peer_gid are known */
  PP_INFO_PROXIED = 2,     /* the addresses are what a trusted proxy reported */
  PP_INFO_TO_MANY = 4      /* a datagram was sent to a broadcast or multicast address */
};

enum { PP_FAMILY_UNIX = 1, PP_FAMILY_IPV4 = 4, PP_FAMILY_IPV6 = 6 }; /* uint16_t */

/* ---- shapes ----------------------------------------------------------------------------------- */

typedef struct pp_host pp_host;   /* opaque: the daemon as one instance sees it */
typedef struct pp_waker pp_waker; /* opaque: a counted reference that outlives its instance */

typedef struct pp_bytes { /* borrowed; never grows */
  const uint8_t *ptr;
  size_t len;
} pp_bytes;

typedef struct pp_text { /* the caller's memory for a message; never grows */
  char *ptr;             /* the callee writes UTF-8 here, without NUL, cut to `cap` bytes ... */
  size_t cap;
  size_t len;            /* ... and says here how many it wrote; the caller sets 0 before */
} pp_text;

typedef struct pp_address { /* by value; never grows */
  uint16_t family;          /* PP_FAMILY_* */
  uint16_t port;            /* in the machine's byte order */
  uint32_t scope;           /* IPv6 scope, else 0 */
  uint8_t ip[16];           /* IPv4 uses the first four, in network order */
} pp_address;

/* One row of the options that a plugin declares. The host checks and converts what an administrator
 * wrote before any other function of the plugin runs. Grows at its end: see option_stride. */
typedef struct pp_option {
  const char *name;         /* as in the configuration file: [a-z][a-z0-9_]* */
  const char *help;         /* one sentence for the administrator */
  const char *default_text; /* as an administrator would write it; NULL makes the option required */
  const char *choices;      /* allowed words of a text, separated by '|'; NULL allows any */
  int64_t min;              /* bounds of the number of a value; both 0 means none */
  int64_t max;
  uint32_t kind;            /* PP_KIND_* */
  uint32_t flags;           /* 0 */
} pp_option;

typedef struct pp_value {
  uint32_t kind;         /* that of the option */
  uint32_t written;      /* 1: the administrator wrote it; 0: it is the default */
  int64_t number;        /* of every kind but text and list */
  pp_bytes text;         /* of a text */
  const pp_bytes *items; /* of a list */
  size_t item_count;
} pp_value;

/* What an instance is made from. It and all it points to are valid during `check` and `create`. */
typedef struct pp_settings {
  uint32_t size;
  uint32_t value_count;  /* equals the plugin's option_count */
  uint32_t value_stride; /* bytes from one pp_value to the next; may exceed sizeof(pp_value) */
  uint32_t worker_index; /* 0 .. worker_count - 1 */
  uint32_t worker_count; /* workers of this service: each has an instance of its own */
  uint32_t generation;
  pp_bytes service;      /* the service's name */
  const void *values;    /* pp_value, in the order of the declared options */
  pp_bytes raw_json;     /* the same section as JSON, for what a table cannot express */
  const pp_bytes *endpoints; /* the service's own, as URLs in numbers: "udp://127.0.0.1:7". In `check` */
  size_t endpoint_count;     /* a port that the system is to choose is still 0 */
  const uint16_t *udp_ports; /* those that the daemon serves when the instance is made, in all its */
  size_t udp_port_count;     /* services. Of those that a later change adds it is not told */
} pp_settings;

/* Where a value is, honouring the stride. */
#define PP_VALUE(settings, index)                           \
  ((const pp_value *)(const void *)((const char *)(settings)->values + \
                                    (size_t)(index) * (settings)->value_stride))

/* The facts of a new session; valid during `open` only. */
typedef struct pp_session_info {
  uint32_t size;
  uint32_t flags;      /* PP_INFO_* */
  pp_address peer;
  pp_address local;
  uint64_t accepted_ms; /* on the clock of now_ms */
  pp_bytes endpoint;    /* the listener, as the administrator wrote it */
  uint32_t peer_pid;    /* with PP_INFO_CREDENTIALS */
  uint32_t peer_uid;
  uint32_t peer_gid;
  uint32_t reserved0;
} pp_session_info;

/* The facts of a datagram; valid during `datagram` only. A reply token may be kept: it names the
 * socket, the address and interface that the datagram came to, and its peer. It is good for at least
 * the next PP_REPLIES - 1 datagrams of the instance; later it is gone. */
#define PP_REPLIES 960

/* Bytes of a plugin's `refusal`. */
#define PP_REFUSAL_MAX 1024

typedef struct pp_datagram {
  uint32_t size;
  uint32_t flags;       /* PP_INFO_* */
  pp_address peer;
  pp_address local;     /* as the datagram's header has it: with PP_INFO_TO_MANY it is nobody's own */
  uint64_t reply_token;
  pp_bytes endpoint;
} pp_datagram;

/* ---- host to plugin ---------------------------------------------------------------------------
 * Handed to `create`; the table and what it points to live as long as the process. */
typedef struct pp_host_api {
  uint32_t size;
  uint16_t major;
  uint16_t minor;
  const char *product;         /* for logs only: never decide anything by these two */
  const char *product_version;

  /* [create] [cb] The host's table of an extension, or NULL if it has none by that id. The answer
   * lives as long as the process. */
  const void *(*extension)(pp_host *host, const char *id);

  /* [create] [cb] [inside] One line for the log. `session` is the one it is about, or 0. The host
   * adds service and peer, escapes control characters, and drops what is below its level. The text may
   * go away when the call returns. Cannot fail. */
  void (*log)(pp_host *host, uint32_t level, pp_session session, const char *text, size_t n);

  /* [create] [cb] [inside] The lowest level that is not dropped: a plugin can spare itself the
   * formatting. */
  uint32_t (*log_level)(pp_host *host);

  /* [create] [cb] Milliseconds on a clock that never goes back and starts anywhere. It stands still
   * during a callback. */
  uint64_t (*now_ms)(pp_host *host);

  /* [cb] Queues all n bytes for a session of this instance, any one, not only that of the callback;
   * or none of them. The bytes are the plugin's again when the call returns. What one callback
   * writes leaves in one go at its end; bytes that lie inside the input lent to `feed` are sent from
   * there without a copy. n may be 0, which is never full. With PP_WRITE_FINISH nothing can be
   * written after them: the peer sees the end of the stream, and may go on sending.
   * PP_E_FULL: the session's output limit would be passed. Nothing was queued; `writable` follows
   *   once, later. A write larger than the whole limit can never succeed: it also answers PP_E_FULL,
   *   and the session ends with PP_END_LIMIT after the callback.
   * PP_E_FULL also while the session is on its way to another worker: see polyport.carry/1.
   * PP_E_GONE: the session has ended, was closed, or its writing side was finished before.
   * PP_E_ARG: NULL with n > 0, or unknown flags. */
  pp_status (*write)(pp_host *host, pp_session session, const void *bytes, size_t n, uint32_t flags);

  /* [cb] Ends a session, any one of this instance, in the way that `how` (PP_CLOSE_*) says. The text
   * is the reason, for the log; it may be empty. No `feed`, `peer_finished` or `writable` of this
   * session follows, only `closed`, and never before the current callback has returned.
   * After PP_CLOSE_FINISH the host reads on, drops what comes, and closes the socket when the peer has
   * finished as well, or after a while. With PP_CLOSE_DONE it closes the socket as soon as what is
   * queued has left. It saves a good part of what a short connection costs, and is for protocols in
   * which the peer has nothing more to say once it is answered. If input waits in the socket at that
   * moment, or the host cannot tell, it is as PP_CLOSE_FINISH. What a peer sends later than that is
   * answered with a reset, and may cost it what it has not read yet: do not use it after an answer to
   * half of what the peer says.
   * PP_E_GONE: it has ended or was closed before. PP_E_ARG: unknown `how`. PP_E_BUSY: it is on its way
   *   to another worker, and nothing was done; the same holds for pause and idle. */
  pp_status (*close)(pp_host *host, pp_session session, uint32_t how, const char *why, size_t n);

  /* [cb] With `on` 1 nothing more is read for this session: no `feed` and no `peer_finished` until
   * `on` 0; what was not consumed before is fed again then. Not counted: twice on and once off is off.
   * PP_E_GONE as for close. */
  pp_status (*pause)(pp_host *host, pp_session session, uint32_t on);

  /* [cb] Sets *bytes to what is queued for the peer and not yet taken by the kernel, the writes of
   * this callback included. PP_E_GONE as for close; then *bytes is not touched. */
  pp_status (*queued)(pp_host *host, pp_session session, uint64_t *bytes);

  /* [cb] Replaces the session's idle limit: so many milliseconds without a byte either way end it
   * with PP_END_IDLE. 0 means no limit. PP_E_GONE as for close. */
  pp_status (*idle)(pp_host *host, pp_session session, uint64_t idle_ms);

  /* [cb] and [inside] of `serve_datagram`. Sends one datagram by the way that `reply_token` names: from
   * its socket, from the address and interface that its datagram came to. `to` is NULL, or of the
   * family PP_FAMILY_UNIX, to send it back to that datagram's peer; else it goes to `to`. n may be 0.
   * Any callback may send; the bytes and the address are the plugin's again when the call returns.
   * Datagrams are gathered, and leave when the host has told of all that it received together; bytes
   * that lie inside the payload lent to `datagram` are sent from there without a copy. As with any
   * datagram, PP_OK does not mean that it arrives: what the kernel has no room for is dropped and
   * counted, and nothing waits for room.
   * PP_E_FULL: dropped, the batch is full. Not to be tried again before the next callback.
   * PP_E_GONE: the token is too old. PP_E_ARG: more bytes than a datagram holds (65507), or NULL with
   * n > 0. PP_E_UNSUPPORTED: the peer has no name to send to, or `to` is of a family that the socket
   * does not reach. */
  pp_status (*send)(pp_host *host, uint64_t reply_token, const pp_address *to, const void *bytes,
                    size_t n);

  /* [create] [cb] Arms a timer that fires once, delay_ms from now, in `timer`, with this token. Sets
   * *timer. PP_E_FULL: the instance has as many as it may. */
  pp_status (*timer_set)(pp_host *host, uint64_t delay_ms, uint64_t token, pp_timer *timer);

  /* [create] [cb] PP_OK promises that the timer never fires. PP_E_GONE: it has fired or was
   * cancelled before. Timers left over when the instance is destroyed never fire. */
  pp_status (*timer_cancel)(pp_host *host, pp_timer timer);

  /* [create] [cb] Sets *waker to a new reference, the only way in from a thread of the plugin. It is
   * owned by the plugin, outlives the instance and must be freed exactly once. PP_E_FULL: too many. */
  pp_status (*waker_new)(pp_host *host, pp_waker **waker);

  /* [any] Makes the event loop call `wake` with this token, soon. Equal tokens that have not been
   * delivered may arrive as one. PP_E_GONE after the instance was destroyed: stop asking. */
  pp_status (*waker_wake)(pp_waker *waker, uint64_t token);

  /* [any] Gives the reference back; not to be used afterwards. NULL is allowed. */
  void (*waker_free)(pp_waker *waker);

  /* [create] [cb] [inside] For glue: "I caught a panic of my plugin"; the text says which and where.
   * Ends the session of the callback, if it has one, with PP_END_FAULT, and counts against the
   * plugin. */
  pp_status (*fault)(pp_host *host, const char *text, size_t n);
} pp_host_api;

/* ---- plugin to host ---------------------------------------------------------------------------
 * What polyport_plugin_v1() returns: constant, and alive as long as the process. A plugin whose
 * `feed` and `datagram` are both NULL, and which has no polyport.blocking/1, serves nothing and is
 * refused. */
typedef struct pp_plugin {
  uint32_t magic;             /* PP_MAGIC */
  uint32_t size;              /* sizeof(pp_plugin) */
  uint16_t major;             /* PP_MAJOR: of the header it was built with */
  uint16_t minor;             /* PP_MINOR */
  uint16_t min_host_minor;    /* the oldest host that will do */
  uint16_t reserved0;
  uint64_t flags;             /* PP_PEER_FIRST */
  const char *name;           /* required; as the administrator knows it */
  const char *version;        /* the plugin's own; may be NULL */
  const char *build_info;     /* for the log; may be NULL */
  const void *options;        /* pp_option rows, option_stride bytes apart; NULL if none */
  uint32_t option_count;
  uint32_t option_stride;     /* sizeof(pp_option), or 0 if there are no options */
  const char *const *required_ext; /* host extensions it cannot do without, ended by NULL; or NULL */

  /* [probe] [loop] The plugin's table of an extension, or NULL if it has none by that id. Pure: may
   * be called before `create`, twice, and answers the same. Default: none. */
  const void *(*extension)(const char *id);

  /* [probe] Are these settings acceptable, beyond what the options' table says? Opens nothing for
   * keeps, starts nothing. A negative answer refuses them; `error`, if not NULL, takes the reason.
   * Default: yes. */
  pp_status (*check)(const pp_settings *settings, pp_text *error);

  /* [loop] Makes the instance of one service in one worker: sets *instance, which may be NULL, and
   * which comes back as the first argument of every other callback. Called once, after the sandbox
   * was closed: only what polyport.needs/1 asked for can be opened. `host` is valid until `destroy`
   * has returned. A negative answer means that there is no instance: `destroy` is not called, and
   * `error`, if not NULL, takes the reason. Default: PP_OK, and the instance is NULL. */
  pp_status (*create)(const pp_host_api *api, pp_host *host, const pp_settings *settings,
                      void **instance, pp_text *error);

  /* [loop] No session is opened after this; those that are open have grace_ms to end, then they are
   * ended with PP_END_DRAIN. Called at most once. Default: nothing. */
  void (*drain)(void *instance, uint64_t grace_ms);

  /* [loop] The last call: every session has had its `closed`, every `serve` has returned, every job
   * has had its `done`. Frees the instance; wakers may stay behind. Default: nothing. */
  void (*destroy)(void *instance);

  /* [loop] A new session. Sets *state, which comes back with every callback of this session and may
   * be NULL. The session can be written to at once. A negative answer refuses it: what was written
   * is dropped, the connection is reset, and no `closed` follows, so nothing may be kept.
   * Default: accept, with the state NULL. */
  pp_status (*open)(void *instance, pp_session session, const pp_session_info *info, void **state);

  /* [loop] `bytes` are ALL bytes that are not consumed yet, n > 0, in one piece, valid until the
   * return. Sets *consumed (0 before the call) to how many of them, from the front, are done with:
   * at most n. The rest comes again, with more behind it. More than n is a fault.
   * PP_E_FULL means that nothing happened: the host takes back what this call wrote to this session,
   *   ignores *consumed, and feeds the same bytes again once there is room. The plugin must have left
   *   its own state alone. So `*consumed = n; return host->write(...)` echoes correctly.
   * Any other negative answer aborts the session.
   * If nothing is consumed when the input limit is reached, the session ends with PP_END_LIMIT.
   * Default: the plugin serves no streams. */
  pp_status (*feed)(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                    size_t *consumed);

  /* [loop] The peer will send no more. Called at most once, after all its bytes were offered to
   * `feed` and none of them was answered PP_E_FULL since. Bytes still not consumed are dropped: what
   * counts without its end, like a last line, must be remembered by the plugin. PP_OK leaves the
   * session half-open until the plugin closes or finishes it. A negative answer aborts the session.
   * Default: what is queued is sent, then FIN. */
  pp_status (*peer_finished)(void *instance, pp_session session, void *state);

  /* [loop] There is room again after a write answered PP_E_FULL. Once for any number of them.
   * Bytes that `feed` gave back with PP_E_FULL are fed again after it. Default: nothing. */
  void (*writable)(void *instance, pp_session session, void *state);

  /* [loop] The session has ended; `why` is PP_END_*. Exactly once for each `open` that succeeded, and
   * the last call for it: frees the state. Default: nothing. */
  void (*closed)(void *instance, pp_session session, void *state, uint32_t why);

  /* [loop] One datagram, whole; n may be 0. A negative answer is counted and changes nothing else.
   * There is no session: a fault in it is counted and logged, and the next datagram follows.
   * Default: the plugin serves no datagrams. */
  pp_status (*datagram)(void *instance, const pp_datagram *from, const uint8_t *bytes, size_t n);

  /* [loop] A timer fired. Default: nothing. */
  void (*timer)(void *instance, pp_timer timer, uint64_t token);

  /* [loop] A waker was used. Default: nothing. */
  void (*wake)(void *instance, uint64_t token);

  /* What whoever connects is told, before an orderly close, while the host does not run the plugin
   * because it keeps crashing: `refusal_length` static bytes, at most PP_REFUSAL_MAX. NULL: nothing. */
  const void *refusal;
  size_t refusal_length;
} pp_plugin;

/* [probe] [loop] THE entry point. Pure: may be called twice and returns the same static table. NULL
 * means that the plugin cannot run here. */
#if defined(__GNUC__)
__attribute__((visibility("default")))
#endif
const pp_plugin *polyport_plugin_v1(void);

/* ---- extensions -------------------------------------------------------------------------------- */

/* Plugin side: what its sandbox must allow. Asked for before `create`, from the static table only. */
#define PP_EXT_NEEDS "polyport.needs/1"

enum {                 /* uint32_t flags */
  PP_NEEDS_CONNECT = 1, /* connections of its own */
  PP_NEEDS_EXEC = 2,    /* other programs */
  PP_NEEDS_JIT = 4      /* memory that is written and then executed */
};

typedef struct pp_needs_1 {
  uint32_t size;
  uint32_t flags;                 /* PP_NEEDS_* */
  const char *const *files_read;  /* absolute paths, ended by NULL; or NULL. What is below a folder */
  const char *const *files_write; /* comes with it. "$name" stands for the value of that option. */
} pp_needs_1;

/* Plugin side: the blocking style. A session is one call of `serve`, on a thread of the host's, which
 * reads and writes the stream as if it were alone. Such a plugin has no `feed`, and its `open`,
 * `peer_finished`, `writable` and `closed` are never called; the rest of its table works as ever, on
 * the loop, and AT THE SAME TIME: whatever `serve` shares with it or with other calls of `serve` must
 * be safe to be used by several threads. Datagrams can be served the same way, one call each. At most
 * as many calls run at once as the administrator has set with limits.threads; further sessions wait
 * for a thread, and above limits.queue are refused. */
#define PP_EXT_BLOCKING "polyport.blocking/1"

enum { PP_READ_PEEK = 1 }; /* uint32_t flags, for read: the bytes stay, and are read again */

/* One session's stream. The host makes it; it and all it points to are valid until `serve` returns,
 * for the thread that `serve` runs on. Grows at its end. */
typedef struct pp_stream {
  uint32_t size;
  uint32_t reserved0;
  pp_session session; /* for log; no function of pp_host_api takes it otherwise */
  void *inner;        /* the first argument of the functions below */

  /* [inside] Waits for the peer's bytes and sets *got to how many there are now, at most `capacity`,
   * which is not 0. PP_OK with 0 bytes is the end of the peer's stream, again and again; the plugin
   * may go on writing.
   * PP_E_CANCELLED: the worker drains, and what had arrived is read. Whoever waits is woken with it
   *   at once, and it stays so: say goodbye, and return soon.
   * PP_E_TIMEOUT: the deadline has passed; or the peer was silent for longer than limits.idle, left
   *   an answer or the rest of a request waiting for longer than limits.stall or limits.progress, or
   *   the session has had its limits.handler or limits.lifetime: then the stream stays as dead as that.
   * PP_E_GONE: the peer has reset the connection or vanished, or was thrown out.
   * PP_E_ARG: NULL, no capacity, or unknown flags. */
  pp_status (*read)(void *inner, void *buffer, size_t capacity, uint32_t flags, size_t *got);

  /* [inside] Waits until the kernel has taken all n bytes; they are the plugin's again afterwards. n
   * may be 0. With PP_WRITE_FINISH nothing can be written after them: the peer sees the end of the
   * stream, and may go on sending.
   * When it fails, some of the bytes may have left. PP_E_CANCELLED: as for read, but not before the
   *   time to drain is over: what a peer was promised can be said until then.
   * PP_E_TIMEOUT, PP_E_GONE: as for read; PP_E_GONE also after PP_WRITE_FINISH.
   * PP_E_ARG: NULL with n > 0, or unknown flags. */
  pp_status (*write)(void *inner, const void *bytes, size_t n, uint32_t flags);

  /* [inside] From `ms` milliseconds from now on, `read` answers PP_E_TIMEOUT, and so does a `write`
   * that has to wait: a goodbye can still be said. Those that wait by then are woken with it. 0 means
   * no deadline, as at first. Replaces the one before. */
  pp_status (*deadline)(void *inner, uint64_t ms);
} pp_stream;

typedef struct pp_blocking_1 {
  uint32_t size;
  uint32_t max_parallel; /* calls that may run at once; 0 means as many as the administrator allows */

  /* [thread] Serves one session, from its first byte to its last. `info` is valid until the return.
   * When it returns, nothing of the session may be kept.
   * PP_OK, or PP_E_CANCELLED, PP_E_TIMEOUT or PP_E_GONE passed on from a call of the stream: what
   *   was written leaves, then FIN.
   * PP_E_PANIC, or any answer after `fault`: reset, and counted against the plugin.
   * Any other negative answer: reset.
   * A call that has not returned soon after the worker's time to drain is over is given up, and the
   * process with it: then `destroy` is not called.
   * NULL: the table's `feed` serves streams, or nobody does. */
  pp_status (*serve)(void *instance, const pp_stream *stream, const pp_session_info *info);

  /* [thread] Serves one datagram, whole; n may be 0. `from` and the bytes are valid until the return.
   * It answers with `send`, and what it says so leaves when it has returned, if the worker still
   * knows the way back by then. A negative answer is counted and changes nothing else. A datagram for
   * which there is no room among those that wait is lost, and so are those that wait when the worker's
   * time to drain is over.
   * NULL: the table's `datagram` serves them, or nobody does. */
  pp_status (*serve_datagram)(void *instance, const pp_datagram *from, const uint8_t *bytes,
                              size_t n);
} pp_blocking_1;

/* Host side and plugin side, under one id: a job that may take its time, on a thread of the host's.
 * The host offers pp_work_1, the plugin what takes the result, pp_work_sink_1. */
#define PP_EXT_WORK "polyport.work/1"

typedef struct pp_work_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [create] [cb] Has run(arg) called once on a thread that may block [thread]; afterwards `done` is
   * called on the loop, with this token and this arg. arg is the host's to pass on until then, and
   * whatever it points to belongs to `run` and then to `done`.
   * Each job that was taken gets exactly one `done` before `destroy`. Those that no thread has begun
   * when the worker's time to drain is over are not run: their `done` says PP_E_CANCELLED. Those that
   * run are waited for; if one does not return soon after that, the process ends without `destroy`.
   * PP_E_BUSY: as many jobs wait as limits.queue allows; not PP_E_FULL, which a `feed` may pass on
   *   only if room in its output is what it waits for. PP_E_CANCELLED: the worker drains, and
   *   its last session has gone. PP_E_UNSUPPORTED: the plugin has no pp_work_sink_1. PP_E_ARG: no function. After
   *   any of these arg is the caller's, and no `done` follows. */
  pp_status (*submit)(pp_host *host, void (*run)(void *arg), void *arg, uint64_t token);
} pp_work_1;

typedef struct pp_work_sink_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [loop] A job is over: PP_OK if it was run, PP_E_CANCELLED if it never will be. Frees arg. */
  void (*done)(void *instance, uint64_t token, void *arg, pp_status status);
} pp_work_sink_1;

/* Host side: bytes of a file, which leave without passing through the plugin. For the event style. */
#define PP_EXT_FILE "polyport.file/1"

/* Ranges that one session may have queued at once. */
#define PP_FILE_RANGES 32

typedef struct pp_file_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [cb] Queues `length` bytes from `offset` of the regular file that `fd` is open on, for a session
   * of this instance, any one; or none of them. They leave in order with what `write` queued before
   * and queues after. With PP_OK the descriptor is the host's, which closes it when the range has
   * left or the session has ended; with any other answer it is the plugin's as before. Its position
   * is neither used nor changed, so a duplicate (F_DUPFD_CLOEXEC) will do. length may be 0.
   * Nothing tells that a range has left: `close` and PP_WRITE_FINISH wait for it. It counts in `queued`,
   * but not against the output limit, for it takes no memory; while more is queued than the peer takes
   * soon, the session is not fed. If a part of the file is not in memory, the range waits for a thread
   * of the host's to read it, and no other session does.
   * What is sent is what the file holds by then: a file that grows is sent as far as it was promised.
   * If it has become shorter or cannot be read, the session ends with PP_END_FILE: what was queued
   * behind is dropped and the connection reset, so that the peer notices.
   * A `feed` that answers PP_E_FULL takes this back as well, and the descriptor is closed.
   * PP_E_FULL: the session has PP_FILE_RANGES queued that have not left; `writable` follows once.
   * PP_E_GONE: as for write.
   * PP_E_ARG: not a regular file, or the range does not lie in it now. */
  pp_status (*send)(pp_host *host, pp_session session, int32_t fd, uint64_t offset, uint64_t length);
} pp_file_1;

/* Plugin side: live sessions move to another worker, which has an instance of its own: of this plugin
 * in the same or another version, after a reload or an upgrade of the daemon. The host moves the
 * connection, what was not consumed of its input and what has not left of its output; the plugin moves
 * what it remembers, as bytes of its own making. The peer notices nothing.
 * Timers, jobs and wakers belong to an instance and stay behind: a session that waits for one writes
 * down what is left of the time, and arms it anew in import_session.
 * Not for sessions of polyport.blocking/1. */
#define PP_EXT_CARRY "polyport.carry/1"

/* The most that export_session can write. */
#define PP_CARRY_BYTES_MAX 65536

typedef struct pp_carry_1 {
  uint32_t size;
  uint32_t format; /* the plugin's own number for what export_session writes; not 0. Another for every
                      change of it, so that import_session can tell what it has before it */

  /* [loop] Writes what the plugin remembers of a session to `into`, at most `capacity` bytes (no less
   * than PP_CARRY_BYTES_MAX), and sets *written (0 before the call). It must change nothing: the session
   * may have to go on here after all, if the other worker cannot take it. Between two callbacks of a
   * session this may come at any time, also after it was closed or finished and while output is still
   * leaving.
   * From then on nothing is fed or told; what this session is asked for by other callbacks is answered
   * with PP_E_FULL (write) or PP_E_BUSY (close, pause, idle). Then either `closed` follows with
   * PP_END_CARRIED, which frees the state; or the session goes on, and `writable` follows if a write
   * was refused.
   * A negative answer: this session cannot be carried. It stays, and is drained. */
  pp_status (*export_session)(void *instance, pp_session session, void *state, uint8_t *into,
                              size_t capacity, size_t *written);

  /* [loop] Takes the place of `open`: the session was opened in another worker, which wrote these
   * bytes in this format. They and `info` are valid until the return. Sets *state as `open` does. The
   * session can be written to at once: that leaves behind what the other worker had said. What was not
   * consumed is fed again, or comes with the next bytes, as it would have there.
   * The bytes may come from an older or newer version of the plugin, or from a worker that a peer
   * has taken over: nothing in them is to be trusted.
   * A negative answer ends the session, in order: what was said before leaves, and then FIN. `why`, if
   * not NULL, takes the reason, for the log. No `closed` follows here. */
  pp_status (*import_session)(void *instance, pp_session session, const pp_session_info *info,
                              uint32_t format, const uint8_t *bytes, size_t n, void **state,
                              pp_text *why);
} pp_carry_1;

/* Host side and plugin side, under one id: what the instances of one service share, in all its workers.
 * The host offers pp_bus_1, the plugin what it hears of, pp_bus_sink_1; a plugin that has no sink
 * cannot use the bus, and for a service without one no bus is started.
 *
 *   - A TOPIC is a line of messages. Each gets the next number of its topic, its sequence; everybody
 *     hears them in that order, and nobody hears one twice by one subscription. Numbers only rise; one
 *     that is skipped was never given to a message. A service's topics, leases and watches are its own.
 *   - HISTORY is kept by the daemon, as far back as the administrator wants. A subscription begins in
 *     it and goes on live, without a gap and without a repeat. What history no longer has is said by
 *     `missed`, and so is what a worker was too slow for: memory for it is limited.
 *   - A LEASE is a key that at most one session holds, with a value that everybody may see. It is free
 *     again when it is released, and when the worker that holds it ends in any way. A session is named
 *     by its plugin, with bytes that no other session has: whoever claims a key in another worker in
 *     the name of the session that holds it gets it at once. So a session that moves keeps what it has.
 *   - Topics, keys and prefixes are names: 1 to PP_BUS_NAME_BYTES bytes out of A-Z a-z 0-9 . _ - = and
 *     '/'. A prefix may be empty.
 *   - Tokens are the plugin's: they come back with what they are about. One that is in use is not to be
 *     used again for the same sort of thing.
 *   - While the bus is away, what was asked is kept and asked again: nothing that was published is lost
 *     or doubled, subscriptions go on where they were, and leases are claimed again. Only what the bus
 *     took away meanwhile is told. */
#define PP_EXT_BUS "polyport.bus/1"

#define PP_BUS_NAME_BYTES 128
#define PP_BUS_ID_BYTES 64        /* of a message's id, and of a session's name */
#define PP_BUS_VALUE_BYTES 1024   /* of a lease's value */
#define PP_BUS_MESSAGE_BYTES 65536

enum {              /* uint32_t, where a subscription begins */
  PP_BUS_LAST = 1,  /* with the last so many messages that there are now; 0: with the next one */
  PP_BUS_FROM = 2   /* with the message of this sequence, or the next after it */
};

enum { PP_BUS_HISTORY_ONLY = 1 }; /* uint32_t flags, for subscribe: it ends with its `caught_up` */

enum {               /* uint32_t, what became of a claim */
  PP_LEASE_WON = 1,   /* the session holds the key; the value is its own */
  PP_LEASE_DENIED = 2, /* another one does; the value is that one's */
  PP_LEASE_LOST = 3    /* it was held, and another one has it now; the value is that one's */
};

/* A message; valid during `message` only. */
typedef struct pp_bus_message {
  uint32_t size;
  uint32_t reserved0;
  uint64_t sequence;
  uint64_t time_ms; /* when it was taken, in milliseconds since 1970 */
  pp_bytes topic;
  pp_bytes id;
  pp_bytes bytes;
} pp_bus_message;

typedef struct pp_bus_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [cb] Sends a message to all who subscribe to the topic, this instance too. `published` says later,
   * once, what became of it. Of messages with the same id only the first counts, while it is among the
   * latest of its topic: `published` then names the sequence of that one. An empty id is never the
   * same as another.
   * PP_E_FULL: as many messages wait for the bus as may; nothing was done, and no `published` follows.
   * PP_E_ARG: a bad name, or too long an id or message. PP_E_UNSUPPORTED: the plugin has no sink. */
  pp_status (*publish)(pp_host *host, pp_bytes topic, pp_bytes id, pp_bytes bytes, uint64_t token);

  /* [create] [cb] Has `message` called for the messages of a topic, from where `start` (PP_BUS_LAST,
   * PP_BUS_FROM) and its `value` say. `caught_up` comes once, between those that were there and those
   * that are new. PP_E_FULL: the instance has as many subscriptions as it may. PP_E_ARG: a bad name,
   * an unknown start or flag, a token in use. PP_E_UNSUPPORTED as for publish. */
  pp_status (*subscribe)(pp_host *host, pp_bytes topic, uint32_t start, uint64_t value,
                         uint32_t flags, uint64_t token);

  /* [cb] Ends a subscription: from now on nothing is told of it. PP_E_GONE: there is none. */
  pp_status (*unsubscribe)(pp_host *host, uint64_t token);

  /* [create] [cb] Claims a key for a session. `lease` says later, once, whether it was WON or DENIED;
   * after a WON it may say, once, that it was LOST. Claiming what the same session holds already is
   * WON, replaces the value, and the earlier token is told of no more. A bus that was just started
   * denies nobody and lets nobody win for a moment, until those who held leases before are back.
   * PP_E_FULL: the instance has as many claims as it may. PP_E_ARG: a bad name, too long a value, a
   * session's name that is empty or too long, a token in use. PP_E_UNSUPPORTED as for publish. */
  pp_status (*claim)(pp_host *host, pp_bytes key, pp_bytes value, pp_bytes session, uint64_t token);

  /* [cb] Gives up what this session has claimed in this instance, won or not: from now on `lease` is
   * not told of it. PP_E_GONE: it has not. */
  pp_status (*release)(pp_host *host, pp_bytes key, pp_bytes session);

  /* [create] [cb] Has `seen` called for each key that begins with the prefix: those that are held now,
   * then each change. PP_E_FULL: the instance watches as much as it may. PP_E_ARG, PP_E_UNSUPPORTED
   * as for subscribe. */
  pp_status (*watch)(pp_host *host, pp_bytes prefix, uint64_t token);

  /* [cb] Ends a watch. PP_E_GONE: there is none. */
  pp_status (*unwatch)(pp_host *host, uint64_t token);
} pp_bus_1;

/* All are called on the loop, never from inside a function of pp_bus_1 or another callback. All that is
 * passed is valid until the return. None may be NULL. */
typedef struct pp_bus_sink_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [loop] The bus is there (1), or away (0). It is away until this was said. */
  void (*link)(void *instance, uint32_t up);

  /* [loop] A message, for the subscription with this token. */
  void (*message)(void *instance, uint64_t token, const pp_bus_message *message);

  /* [loop] Messages `from` to `to` of a subscription are not to be had any more. */
  void (*missed)(void *instance, uint64_t token, uint64_t from, uint64_t to);

  /* [loop] All that there was when the subscription began has been told, up to this sequence; what
   * follows is new. */
  void (*caught_up)(void *instance, uint64_t token, uint64_t sequence);

  /* [loop] PP_OK: the message has this sequence. PP_E_FULL: there are too many topics. */
  void (*published)(void *instance, uint64_t token, pp_status status, uint64_t sequence);

  /* [loop] What became of a claim: `what` is PP_LEASE_*. PP_LEASE_DENIED with an empty value may also
   * mean that there are too many leases. */
  void (*lease)(void *instance, uint64_t token, pp_bytes key, uint32_t what, pp_bytes value);

  /* [loop] A key that is watched is held (1), with this value; or is free (0). */
  void (*seen)(void *instance, uint64_t token, pp_bytes key, uint32_t held, pp_bytes value);
} pp_bus_sink_1;

/* Host side: numbers of the plugin's own, which an administrator reads among the daemon's. Each is
 * defined once, in `create`, and changed whenever something is to be counted: that is a store into
 * memory which the supervisor reads, without a lock and without a system call, so it may be done for
 * every message. The numbers of all workers of a service are added up. A counter and a histogram go on
 * where they were when a worker is replaced; a gauge is what the living say.
 *   - They are whole numbers: choose a unit that makes them so, and say it at the end of the name, as
 *     in `answer_us` or `sent_bytes`.
 *   - Names are [a-z][a-z0-9_]*, at most PP_METRIC_NAME_BYTES long, different from each other, and do
 *     not end in `total`, `bucket`, `sum` or `count`: those endings are the host's. What is shown is
 *     polyport_plugin_<plugin>_<name>, with `_total` for a counter, and the service as a label.
 *   - Never make a name of what a peer sends: there is room for PP_METRICS_MAX of them.
 *   - Same name and kind (and bounds) mean the same number in every version of a plugin. If the kind
 *     or the bounds change, a new count begins. */
#define PP_EXT_METRICS "polyport.metrics/1"

#define PP_METRICS_MAX 64        /* of an instance */
#define PP_METRIC_NAME_BYTES 64
#define PP_METRIC_HELP_BYTES 128
#define PP_METRIC_BOUNDS_MAX 16

enum {                    /* uint32_t, kinds of metrics */
  PP_METRIC_COUNTER = 1,   /* how often, or how much, so far: only ever more */
  PP_METRIC_GAUGE = 2,     /* how many there are now: an int64_t */
  PP_METRIC_HISTOGRAM = 3  /* how many of what was recorded are at most so large, for each bound */
};

/* What a metric is; borrowed by `define`. Grows at its end. */
typedef struct pp_metric {
  uint32_t size;
  uint32_t kind;          /* PP_METRIC_* */
  pp_bytes name;
  pp_bytes help;          /* one sentence in UTF-8, 1 to PP_METRIC_HELP_BYTES, without control characters */
  const uint64_t *bounds; /* of a histogram: 1 to PP_METRIC_BOUNDS_MAX, each above the one before; */
  size_t bound_count;     /* what is above the last is counted too. Of any other kind: none */
} pp_metric;

typedef struct pp_metrics_1 {
  uint32_t size;
  uint32_t reserved0;

  /* [create] Defines a metric, which begins with 0, and sets *metric to its number; 0 is never one.
   * PP_E_ARG: what is written above does not hold, or the name is defined already; the log says which.
   * PP_E_FULL: there are PP_METRICS_MAX. After any of these *metric is not touched. */
  pp_status (*define)(pp_host *host, const pp_metric *what, uint32_t *metric);

  /* [create] [cb] [inside] Adds to a counter. PP_E_ARG: no number of a counter; nothing was done. */
  pp_status (*add)(pp_host *host, uint32_t metric, uint64_t amount);

  /* [create] [cb] [inside] Adds to a gauge, or takes away. PP_E_ARG: no number of a gauge. */
  pp_status (*change)(pp_host *host, uint32_t metric, int64_t by);

  /* [create] [cb] [inside] Sets a gauge of this worker. PP_E_ARG: no number of a gauge. */
  pp_status (*set)(pp_host *host, uint32_t metric, int64_t value);

  /* [create] [cb] [inside] Counts a value in a histogram. PP_E_ARG: no number of a histogram. */
  pp_status (*record)(pp_host *host, uint32_t metric, uint64_t value);
} pp_metrics_1;

#ifdef __cplusplus
}
#endif

#endif
