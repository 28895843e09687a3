/* Prints the layout of the plugin ABI as the C header has it. Each line is checked by the compiler
 * before it is printed: a type that differs from what the line says does not compile (-Werror).
 * layout.rs prints the same from the Rust side and compares both with layout.txt. */
#include <inttypes.h>
#include <stdio.h>

#include "polyport_plugin.h"

#define STRUCT(type) \
  typedef type current; \
  static current probe; \
  printf("struct " #type " size %zu\n", sizeof(current))

#define PLACE(field) printf("  %zu %zu " #field ": ", offsetof(current, field), sizeof probe.field)

/* The address of the field must fit a pointer to exactly the type that is printed. */
#define FIELD(type, field) \
  do { \
    type *typed = &probe.field; \
    (void)typed; \
    PLACE(field); \
    puts(#type); \
  } while (0)

#define ARRAY(type, count, field) \
  do { \
    type(*typed)[count] = &probe.field; \
    (void)typed; \
    PLACE(field); \
    puts(#type "[" #count "]"); \
  } while (0)

/* The function pointer must fit one of exactly the signature that is printed. */
#define FUNCTION(result, field, parameters) \
  do { \
    result(*typed) parameters = probe.field; \
    (void)typed; \
    PLACE(field); \
    puts(#result " " #parameters); \
  } while (0)

#define CONSTANT(name) printf("constant " #name " %" PRId64 "\n", (int64_t)(name))
#define TEXT(name) printf("text " #name " %s\n", name)

const pp_plugin *polyport_plugin_v1(void) { return NULL; }

static void constants(void) {
  CONSTANT(PP_MAGIC);
  CONSTANT(PP_MAJOR);
  CONSTANT(PP_MINOR);
  CONSTANT(PP_OK);
  CONSTANT(PP_E_FAIL);
  CONSTANT(PP_E_ARG);
  CONSTANT(PP_E_UNSUPPORTED);
  CONSTANT(PP_E_GONE);
  CONSTANT(PP_E_FULL);
  CONSTANT(PP_E_CONFIG);
  CONSTANT(PP_E_PANIC);
  CONSTANT(PP_E_CANCELLED);
  CONSTANT(PP_E_TIMEOUT);
  CONSTANT(PP_E_THREAD);
  CONSTANT(PP_E_BUSY);
  CONSTANT(PP_LOG_DEBUG);
  CONSTANT(PP_LOG_INFO);
  CONSTANT(PP_LOG_WARNING);
  CONSTANT(PP_LOG_ERROR);
  CONSTANT(PP_CLOSE_FINISH);
  CONSTANT(PP_CLOSE_ABORT);
  CONSTANT(PP_CLOSE_DONE);
  CONSTANT(PP_WRITE_FINISH);
  CONSTANT(PP_END_FINISHED);
  CONSTANT(PP_END_ABORTED);
  CONSTANT(PP_END_LOST);
  CONSTANT(PP_END_IDLE);
  CONSTANT(PP_END_LIMIT);
  CONSTANT(PP_END_DRAIN);
  CONSTANT(PP_END_FAULT);
  CONSTANT(PP_END_FILE);
  CONSTANT(PP_END_CARRIED);
  CONSTANT(PP_PEER_FIRST);
  CONSTANT(PP_KIND_TEXT);
  CONSTANT(PP_KIND_INTEGER);
  CONSTANT(PP_KIND_BOOLEAN);
  CONSTANT(PP_KIND_DURATION);
  CONSTANT(PP_KIND_SIZE);
  CONSTANT(PP_KIND_LIST);
  CONSTANT(PP_INFO_CREDENTIALS);
  CONSTANT(PP_INFO_PROXIED);
  CONSTANT(PP_INFO_TO_MANY);
  CONSTANT(PP_REPLIES);
  CONSTANT(PP_REFUSAL_MAX);
  CONSTANT(PP_FAMILY_UNIX);
  CONSTANT(PP_FAMILY_IPV4);
  CONSTANT(PP_FAMILY_IPV6);
  CONSTANT(PP_NEEDS_CONNECT);
  CONSTANT(PP_NEEDS_EXEC);
  CONSTANT(PP_NEEDS_JIT);
  CONSTANT(PP_READ_PEEK);
  CONSTANT(PP_FILE_RANGES);
  CONSTANT(PP_CARRY_BYTES_MAX);
  CONSTANT(PP_BUS_NAME_BYTES);
  CONSTANT(PP_BUS_ID_BYTES);
  CONSTANT(PP_BUS_VALUE_BYTES);
  CONSTANT(PP_BUS_MESSAGE_BYTES);
  CONSTANT(PP_BUS_LAST);
  CONSTANT(PP_BUS_FROM);
  CONSTANT(PP_BUS_HISTORY_ONLY);
  CONSTANT(PP_LEASE_WON);
  CONSTANT(PP_LEASE_DENIED);
  CONSTANT(PP_LEASE_LOST);
  CONSTANT(PP_METRICS_MAX);
  CONSTANT(PP_METRIC_NAME_BYTES);
  CONSTANT(PP_METRIC_HELP_BYTES);
  CONSTANT(PP_METRIC_BOUNDS_MAX);
  CONSTANT(PP_METRIC_COUNTER);
  CONSTANT(PP_METRIC_GAUGE);
  CONSTANT(PP_METRIC_HISTOGRAM);
  TEXT(PP_EXT_NEEDS);
  TEXT(PP_EXT_BLOCKING);
  TEXT(PP_EXT_WORK);
  TEXT(PP_EXT_FILE);
  TEXT(PP_EXT_CARRY);
  TEXT(PP_EXT_BUS);
  TEXT(PP_EXT_METRICS);
}

static void entry(void) {
  const pp_plugin *(*typed)(void) = polyport_plugin_v1;
  (void)typed;
  puts("entry polyport_plugin_v1: const pp_plugin * (void)");
}

static void bytes(void) {
  STRUCT(pp_bytes);
  FIELD(const uint8_t *, ptr);
  FIELD(size_t, len);
}

static void text(void) {
  STRUCT(pp_text);
  FIELD(char *, ptr);
  FIELD(size_t, cap);
  FIELD(size_t, len);
}

static void address(void) {
  STRUCT(pp_address);
  FIELD(uint16_t, family);
  FIELD(uint16_t, port);
  FIELD(uint32_t, scope);
  ARRAY(uint8_t, 16, ip);
}

static void option(void) {
  STRUCT(pp_option);
  FIELD(const char *, name);
  FIELD(const char *, help);
  FIELD(const char *, default_text);
  FIELD(const char *, choices);
  FIELD(int64_t, min);
  FIELD(int64_t, max);
  FIELD(uint32_t, kind);
  FIELD(uint32_t, flags);
}

static void value(void) {
  STRUCT(pp_value);
  FIELD(uint32_t, kind);
  FIELD(uint32_t, written);
  FIELD(int64_t, number);
  FIELD(pp_bytes, text);
  FIELD(const pp_bytes *, items);
  FIELD(size_t, item_count);
}

static void settings(void) {
  STRUCT(pp_settings);
  FIELD(uint32_t, size);
  FIELD(uint32_t, value_count);
  FIELD(uint32_t, value_stride);
  FIELD(uint32_t, worker_index);
  FIELD(uint32_t, worker_count);
  FIELD(uint32_t, generation);
  FIELD(pp_bytes, service);
  FIELD(const void *, values);
  FIELD(pp_bytes, raw_json);
  FIELD(const pp_bytes *, endpoints);
  FIELD(size_t, endpoint_count);
  FIELD(const uint16_t *, udp_ports);
  FIELD(size_t, udp_port_count);
}

static void session_info(void) {
  STRUCT(pp_session_info);
  FIELD(uint32_t, size);
  FIELD(uint32_t, flags);
  FIELD(pp_address, peer);
  FIELD(pp_address, local);
  FIELD(uint64_t, accepted_ms);
  FIELD(pp_bytes, endpoint);
  FIELD(uint32_t, peer_pid);
  FIELD(uint32_t, peer_uid);
  FIELD(uint32_t, peer_gid);
  FIELD(uint32_t, reserved0);
}

static void datagram(void) {
  STRUCT(pp_datagram);
  FIELD(uint32_t, size);
  FIELD(uint32_t, flags);
  FIELD(pp_address, peer);
  FIELD(pp_address, local);
  FIELD(uint64_t, reply_token);
  FIELD(pp_bytes, endpoint);
}

static void host_api(void) {
  STRUCT(pp_host_api);
  FIELD(uint32_t, size);
  FIELD(uint16_t, major);
  FIELD(uint16_t, minor);
  FIELD(const char *, product);
  FIELD(const char *, product_version);
  FUNCTION(const void *, extension, (pp_host *, const char *));
  FUNCTION(void, log, (pp_host *, uint32_t, uint64_t, const char *, size_t));
  FUNCTION(uint32_t, log_level, (pp_host *));
  FUNCTION(uint64_t, now_ms, (pp_host *));
  FUNCTION(int32_t, write, (pp_host *, uint64_t, const void *, size_t, uint32_t));
  FUNCTION(int32_t, close, (pp_host *, uint64_t, uint32_t, const char *, size_t));
  FUNCTION(int32_t, pause, (pp_host *, uint64_t, uint32_t));
  FUNCTION(int32_t, queued, (pp_host *, uint64_t, uint64_t *));
  FUNCTION(int32_t, idle, (pp_host *, uint64_t, uint64_t));
  FUNCTION(int32_t, send, (pp_host *, uint64_t, const pp_address *, const void *, size_t));
  FUNCTION(int32_t, timer_set, (pp_host *, uint64_t, uint64_t, uint64_t *));
  FUNCTION(int32_t, timer_cancel, (pp_host *, uint64_t));
  FUNCTION(int32_t, waker_new, (pp_host *, pp_waker **));
  FUNCTION(int32_t, waker_wake, (pp_waker *, uint64_t));
  FUNCTION(void, waker_free, (pp_waker *));
  FUNCTION(int32_t, fault, (pp_host *, const char *, size_t));
}

static void plugin(void) {
  STRUCT(pp_plugin);
  FIELD(uint32_t, magic);
  FIELD(uint32_t, size);
  FIELD(uint16_t, major);
  FIELD(uint16_t, minor);
  FIELD(uint16_t, min_host_minor);
  FIELD(uint16_t, reserved0);
  FIELD(uint64_t, flags);
  FIELD(const char *, name);
  FIELD(const char *, version);
  FIELD(const char *, build_info);
  FIELD(const void *, options);
  FIELD(uint32_t, option_count);
  FIELD(uint32_t, option_stride);
  FIELD(const char *const *, required_ext);
  FUNCTION(const void *, extension, (const char *));
  FUNCTION(int32_t, check, (const pp_settings *, pp_text *));
  FUNCTION(int32_t, create,
           (const pp_host_api *, pp_host *, const pp_settings *, void **, pp_text *));
  FUNCTION(void, drain, (void *, uint64_t));
  FUNCTION(void, destroy, (void *));
  FUNCTION(int32_t, open, (void *, uint64_t, const pp_session_info *, void **));
  FUNCTION(int32_t, feed, (void *, uint64_t, void *, const uint8_t *, size_t, size_t *));
  FUNCTION(int32_t, peer_finished, (void *, uint64_t, void *));
  FUNCTION(void, writable, (void *, uint64_t, void *));
  FUNCTION(void, closed, (void *, uint64_t, void *, uint32_t));
  FUNCTION(int32_t, datagram, (void *, const pp_datagram *, const uint8_t *, size_t));
  FUNCTION(void, timer, (void *, uint64_t, uint64_t));
  FUNCTION(void, wake, (void *, uint64_t));
  FIELD(const void *, refusal);
  FIELD(size_t, refusal_length);
}

static void needs(void) {
  STRUCT(pp_needs_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, flags);
  FIELD(const char *const *, files_read);
  FIELD(const char *const *, files_write);
}

static void stream(void) {
  STRUCT(pp_stream);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FIELD(uint64_t, session);
  FIELD(void *, inner);
  FUNCTION(int32_t, read, (void *, void *, size_t, uint32_t, size_t *));
  FUNCTION(int32_t, write, (void *, const void *, size_t, uint32_t));
  FUNCTION(int32_t, deadline, (void *, uint64_t));
}

static void blocking(void) {
  STRUCT(pp_blocking_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, max_parallel);
  FUNCTION(int32_t, serve, (void *, const pp_stream *, const pp_session_info *));
  FUNCTION(int32_t, serve_datagram, (void *, const pp_datagram *, const uint8_t *, size_t));
}

static void work(void) {
  STRUCT(pp_work_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(int32_t, submit, (pp_host *, void (void *), void *, uint64_t));
}

static void work_sink(void) {
  STRUCT(pp_work_sink_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(void, done, (void *, uint64_t, void *, int32_t));
}

static void file(void) {
  STRUCT(pp_file_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(int32_t, send, (pp_host *, uint64_t, int32_t, uint64_t, uint64_t));
}

static void carry(void) {
  STRUCT(pp_carry_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, format);
  FUNCTION(int32_t, export_session,
           (void *, uint64_t, void *, uint8_t *, size_t, size_t *));
  FUNCTION(int32_t, import_session,
           (void *, uint64_t, const pp_session_info *, uint32_t, const uint8_t *, size_t, void **, pp_text *));
}

static void bus_message(void) {
  STRUCT(pp_bus_message);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FIELD(uint64_t, sequence);
  FIELD(uint64_t, time_ms);
  FIELD(pp_bytes, topic);
  FIELD(pp_bytes, id);
  FIELD(pp_bytes, bytes);
}

static void bus(void) {
  STRUCT(pp_bus_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(int32_t, publish, (pp_host *, pp_bytes, pp_bytes, pp_bytes, uint64_t));
  FUNCTION(int32_t, subscribe, (pp_host *, pp_bytes, uint32_t, uint64_t, uint32_t, uint64_t));
  FUNCTION(int32_t, unsubscribe, (pp_host *, uint64_t));
  FUNCTION(int32_t, claim, (pp_host *, pp_bytes, pp_bytes, pp_bytes, uint64_t));
  FUNCTION(int32_t, release, (pp_host *, pp_bytes, pp_bytes));
  FUNCTION(int32_t, watch, (pp_host *, pp_bytes, uint64_t));
  FUNCTION(int32_t, unwatch, (pp_host *, uint64_t));
}

static void bus_sink(void) {
  STRUCT(pp_bus_sink_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(void, link, (void *, uint32_t));
  FUNCTION(void, message, (void *, uint64_t, const pp_bus_message *));
  FUNCTION(void, missed, (void *, uint64_t, uint64_t, uint64_t));
  FUNCTION(void, caught_up, (void *, uint64_t, uint64_t));
  FUNCTION(void, published, (void *, uint64_t, int32_t, uint64_t));
  FUNCTION(void, lease, (void *, uint64_t, pp_bytes, uint32_t, pp_bytes));
  FUNCTION(void, seen, (void *, uint64_t, pp_bytes, uint32_t, pp_bytes));
}

static void metric(void) {
  STRUCT(pp_metric);
  FIELD(uint32_t, size);
  FIELD(uint32_t, kind);
  FIELD(pp_bytes, name);
  FIELD(pp_bytes, help);
  FIELD(const uint64_t *, bounds);
  FIELD(size_t, bound_count);
}

static void metrics(void) {
  STRUCT(pp_metrics_1);
  FIELD(uint32_t, size);
  FIELD(uint32_t, reserved0);
  FUNCTION(int32_t, define, (pp_host *, const pp_metric *, uint32_t *));
  FUNCTION(int32_t, add, (pp_host *, uint32_t, uint64_t));
  FUNCTION(int32_t, change, (pp_host *, uint32_t, int64_t));
  FUNCTION(int32_t, set, (pp_host *, uint32_t, int64_t));
  FUNCTION(int32_t, record, (pp_host *, uint32_t, uint64_t));
}

int main(void) {
  constants();
  entry();
  bytes();
  text();
  address();
  option();
  value();
  settings();
  session_info();
  datagram();
  host_api();
  plugin();
  needs();
  stream();
  blocking();
  work();
  work_sink();
  file();
  carry();
  bus_message();
  bus();
  bus_sink();
  metric();
  metrics();
  return 0;
}
