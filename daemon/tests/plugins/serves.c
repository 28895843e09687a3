/* The blocking style: the first byte of a session says what its handler does, and what it finds is
 * written to the peer, a line each. Without the byte it says so. */
#include <polyport_plugin.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

static void say(const pp_stream *s, const char *format, ...) {
  char line[256];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  s->write(s->inner, line, (size_t)n, 0);
}

static pp_status echo(const pp_stream *s) {
  char buffer[65536];
  size_t n = 0;
  for (;;) {
    pp_status status = s->read(s->inner, buffer, sizeof buffer, 0, &n);
    if (status != PP_OK || n == 0) return status;
    status = s->write(s->inner, buffer, n, 0);
    if (status != PP_OK) return status;
  }
}

static pp_status wrong_arguments(const pp_stream *s) {
  char byte;
  size_t n = 99;
  say(s, "read null %d\n", s->read(s->inner, NULL, 1, 0, &n));
  say(s, "read nothing %d\n", s->read(s->inner, &byte, 0, 0, &n));
  say(s, "read flags %d\n", s->read(s->inner, &byte, 1, 2, &n));
  say(s, "read uncounted %d\n", s->read(s->inner, &byte, 1, 0, NULL));
  say(s, "read nowhere %d %d\n", s->read(NULL, &byte, 1, 0, &n), (int)n);
  say(s, "write null %d\n", s->write(s->inner, NULL, 1, 0));
  say(s, "write flags %d\n", s->write(s->inner, "x", 1, 2));
  say(s, "write nowhere %d\n", s->write(NULL, "x", 1, 0));
  say(s, "deadline nowhere %d\n", s->deadline(NULL, 1));
  return PP_OK;
}

/* Of the host's table, the log and fault answer on a handler's thread. */
static pp_status host_calls(pp_host *host, const pp_stream *s) {
  uint64_t queued = 0;
  pp_timer timer = 0;
  api->log(host, PP_LOG_WARNING, s->session, "about this session", 18);
  say(s, "level %u\n", api->log_level(host));
  say(s, "now %d\n", api->now_ms(host) != 0);
  say(s, "write %d\n", api->write(host, s->session, "x", 1, 0));
  say(s, "close %d\n", api->close(host, s->session, PP_CLOSE_ABORT, NULL, 0));
  say(s, "queued %d\n", api->queued(host, s->session, &queued));
  say(s, "timer %d\n", api->timer_set(host, 1, 1, &timer));
  say(s, "extension %d\n", api->extension(host, PP_EXT_WORK) == NULL);
  return PP_OK;
}

static pp_status facts(const pp_stream *s, const pp_session_info *info) {
  say(s, "%u bytes, from %u.%u.%u.%u on %.*s\n", info->size, info->peer.ip[0], info->peer.ip[1],
      info->peer.ip[2], info->peer.ip[3], (int)info->endpoint.len, (const char *)info->endpoint.ptr);
  return PP_OK;
}

static pp_status serve(void *host, const pp_stream *s, const pp_session_info *info) {
  char order = 0;
  size_t n = 0;
  pp_status status = s->read(s->inner, &order, 1, 0, &n);
  if (status != PP_OK || n == 0) {
    say(s, "no order %d\n", status);
    return status;
  }
  switch (order) {
    case 'e': return echo(s);
    case 'w': return wrong_arguments(s);
    case 'h': return host_calls(host, s);
    case 'i': return facts(s, info);
    case 'f': return api->fault(host, "caught \x1b[1ma panic", 18);
    case 'p': return PP_E_PANIC;
    case 'n': return PP_E_FAIL;
    case '+': return 7;
    case '!': *(volatile int *)(uintptr_t)16 = 1; return PP_OK;
    default: return PP_E_ARG;
  }
}

static pp_status serve_datagram(void *host, const pp_datagram *from, const uint8_t *bytes, size_t n) {
  switch (n > 0 ? bytes[0] : 0) {
    case 'f': return api->fault(host, "a datagram's fault", 18);
    case 'p': return PP_E_PANIC;
    case 'n': return PP_E_FAIL;
    case 'w': /* what is said on a thread is bounded, and only this much can be said at all */
      for (int i = 0; i < 300; i++) api->send(host, from->reply_token, NULL, &i, sizeof i);
      return api->now_ms(host) == 0 && api->send(host, from->reply_token, NULL, bytes, 65508) == PP_E_ARG
                 ? PP_OK : PP_E_FAIL;
    case '!': *(volatile int *)(uintptr_t)16 = 1; return PP_OK;
    default: return api->send(host, from->reply_token, NULL, bytes, n);
  }
}

static const void *extension(const char *id) {
  static const pp_blocking_1 blocking = {sizeof(pp_blocking_1), 3, serve, serve_datagram};
  return strcmp(id, PP_EXT_BLOCKING) == 0 ? &blocking : NULL;
}

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "serves",
    .extension = extension,
    .create = create,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
