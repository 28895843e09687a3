/* Asks the host all it can, rightly and wrongly, and writes every answer to the session, a line
 * each. It also declares an option of each kind and tells their values, and a need made of one. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { OPTION_COUNT = 6 };
static const pp_option options[OPTION_COUNT] = {
    {"root", "Where the files are.", NULL, NULL, 0, 0, PP_KIND_TEXT, 0},
    {"length", "Of a line.", "80", NULL, 1, 1000, PP_KIND_INTEGER, 0},
    {"loud", "In capitals.", "false", NULL, 0, 0, PP_KIND_BOOLEAN, 0},
    {"pause", "Between lines.", "10s", NULL, 0, 0, PP_KIND_DURATION, 0},
    {"most", "Bytes of a line.", "4KiB", NULL, 0, 0, PP_KIND_SIZE, 0},
    {"names", "Whom to greet.", "ann, bob", NULL, 0, 0, PP_KIND_LIST, 0},
};

static const pp_host_api *api;
static char told[1 << 16];

static void tell(const pp_settings *s) {
  size_t at = 0;
  for (uint32_t i = 0; i < s->value_count; i++) {
    const pp_value *v = PP_VALUE(s, i);
    at += (size_t)snprintf(told + at, sizeof told - at, "%s:%u=%lld,%.*s", options[i].name, v->written,
                           (long long)v->number, (int)v->text.len, (const char *)v->text.ptr);
    for (size_t k = 0; k < v->item_count; k++)
      at += (size_t)snprintf(told + at, sizeof told - at, "[%.*s]", (int)v->items[k].len,
                             (const char *)v->items[k].ptr);
    at += (size_t)snprintf(told + at, sizeof told - at, "\n");
  }
  snprintf(told + at, sizeof told - at, "%.*s %u/%u %u %.*s\n", (int)s->service.len,
           (const char *)s->service.ptr, s->worker_index, s->worker_count, s->generation,
           (int)s->raw_json.len, (const char *)s->raw_json.ptr);
}

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)error;
  api = given;
  *instance = host;
  tell(settings);
  return PP_OK;
}

static void say(pp_host *host, pp_session session, const char *format, ...) {
  char line[512];
  va_list list;
  va_start(list, format);
  int n = vsnprintf(line, sizeof line, format, list);
  va_end(list);
  api->write(host, session, line, (size_t)n, 0);
}

static pp_status open(void *host, pp_session session, const pp_session_info *info, void **state) {
  say(host, session, "open %u.%u.%u.%u:%u at %llu on %.*s\n", info->peer.ip[0], info->peer.ip[1],
      info->peer.ip[2], info->peer.ip[3], info->peer.port, (unsigned long long)info->accepted_ms,
      (int)info->endpoint.len, (const char *)info->endpoint.ptr);
  *state = told;
  return PP_OK;
}

static void wrong_arguments(pp_host *h, pp_session s) {
  uint64_t queued = 99;
  pp_timer timer = 0;
  const pp_session never = 0x7fffffff00000001u;
  say(h, s, "write null %d\n", api->write(h, s, NULL, 1, 0));
  say(h, s, "write empty %d\n", api->write(h, s, NULL, 0, 0));
  say(h, s, "write endless %d\n", api->write(h, s, "x", (size_t)-1, 0));
  say(h, s, "write flags %d\n", api->write(h, s, "x", 1, 6));
  say(h, s, "write none %d\n", api->write(h, 0, "x", 1, 0));
  say(h, s, "write never %d\n", api->write(h, never, "x", 1, 0));
  say(h, s, "close how %d\n", api->close(h, s, 3, NULL, 0));
  say(h, s, "close why %d\n", api->close(h, s, PP_CLOSE_ABORT, NULL, 3));
  say(h, s, "pause %d\n", api->pause(h, s, 2));
  say(h, s, "queued null %d\n", api->queued(h, s, NULL));
  say(h, s, "queued never %d %d\n", api->queued(h, never, &queued), (int)queued);
  say(h, s, "idle never %d\n", api->idle(h, never, 1));
  say(h, s, "send %d\n", api->send(h, 0, NULL, NULL, 0));
  say(h, s, "timer null %d\n", api->timer_set(h, 1, 1, NULL));
  say(h, s, "timer never %d\n", api->timer_cancel(h, never));
  say(h, s, "timer %d", api->timer_set(h, 1, 1, &timer));
  say(h, s, " cancel %d", api->timer_cancel(h, timer));
  say(h, s, " again %d\n", api->timer_cancel(h, timer));
  say(h, s, "waker null %d %d\n", api->waker_new(h, NULL), api->waker_wake(NULL, 1));
  say(h, s, "extension %d\n", api->extension(h, "polyport.none/1") == NULL);
  say(h, s, "host null %d\n", api->write(NULL, s, "x", 1, 0));
  api->waker_free(NULL);
  api->log(h, PP_LOG_INFO, s, NULL, 9);
  api->log(h, 77, never, "a level of tomorrow", 19);
}

struct elsewhere {
  pp_host *host;
  pp_session session;
  pp_waker *waker;
};

/* Another thread may wake and nothing else; what it was answered is the token. */
static void *thread(void *given) {
  struct elsewhere *e = given;
  pp_status write = api->write(e->host, e->session, "x", 1, 0);
  pp_status fault = api->fault(e->host, "x", 1);
  api->log(e->host, PP_LOG_ERROR, 0, "x", 1);
  int right = write == PP_E_THREAD && fault == PP_E_THREAD && api->now_ms(e->host) == 0;
  api->waker_wake(e->waker, right ? 7 : 8);
  return NULL;
}

static pp_status from_elsewhere(pp_host *host, pp_session session) {
  struct elsewhere e = {host, session, NULL};
  pthread_t id;
  pp_status made = api->waker_new(host, &e.waker);
  if (made != PP_OK) return made;
  if (pthread_create(&id, NULL, thread, &e) != 0) return PP_E_FAIL;
  pthread_join(id, NULL);
  api->waker_free(e.waker);
  return PP_OK;
}

static void right_arguments(pp_host *h, pp_session s) {
  uint64_t queued = 0;
  pp_timer timer = 0;
  api->pause(h, s, 1);
  api->idle(h, s, 5000);
  api->timer_set(h, 250, 42, &timer);
  api->queued(h, s, &queued);
  say(h, s, "queued %d", (int)queued);
  api->close(h, s, PP_CLOSE_FINISH, "all\x07 said", 9);
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  *consumed = n;
  switch (bytes[0]) {
    case 's': return api->write(host, session, state, strlen(state), 0);
    case 'w': wrong_arguments(host, session); return PP_OK;
    case 'r': right_arguments(host, session); return PP_OK;
    case 't': return from_elsewhere(host, session);
    case 'n': /* time stands still, and half of the input is sent from where it is */
      if (api->now_ms(host) != api->now_ms(host)) return PP_E_FAIL;
      return api->write(host, session, bytes + 1, n - 1, PP_WRITE_FINISH);
    case 'l':
      for (int i = 0; i < 1000; i++) api->log(host, PP_LOG_ERROR, session, "line", 4);
      return PP_OK;
    default: *consumed = 0; return PP_OK;
  }
}

/* Echoes what follows an 'e'; tells the facts for an 'f'; asks wrongly for a 'w'. */
static pp_status datagram(void *host, const pp_datagram *from, const uint8_t *bytes, size_t n) {
  const uint64_t way = from->reply_token;
  const pp_address nowhere = {77, 7, 0, {0}}, unix_peer = {PP_FAMILY_UNIX, 0, 0, {0}};
  const pp_address other = {PP_FAMILY_IPV4, 5000, 0, {192, 0, 2, 9}};
  char text[256];
  switch (n > 0 ? bytes[0] : 0) {
    case 'e': return api->send(host, way, NULL, bytes + 1, n - 1);
    case 'f':
      snprintf(text, sizeof text, "%u %u %u.%u %.*s", from->flags, from->peer.port, from->local.ip[0],
               from->local.ip[3], (int)from->endpoint.len, (const char *)from->endpoint.ptr);
      return api->send(host, way, &unix_peer, text, strlen(text));
    case 'w':
      snprintf(text, sizeof text, "%d %d %d %d %d", api->send(host, way + 1, NULL, "x", 1),
               api->send(host, way, &nowhere, "x", 1), api->send(host, way, NULL, NULL, 1),
               api->send(host, way, NULL, told, 65508), api->send(NULL, way, NULL, "x", 1));
      return api->send(host, way, &other, text, strlen(text));
    default: return PP_E_FAIL;
  }
}

static const void *extension(const char *id) {
  static const char *const files[] = {"$root", "$names", "/etc/motd", NULL};
  static const pp_needs_1 needs = {sizeof(pp_needs_1), PP_NEEDS_CONNECT, files, NULL};
  return strcmp(id, PP_EXT_NEEDS) == 0 ? &needs : NULL;
}

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .flags = PP_PEER_FIRST,
    .name = "asks",
    .version = "1.2.3",
    .build_info = "by hand",
    .options = options,
    .option_count = OPTION_COUNT,
    .option_stride = sizeof(pp_option),
    .extension = extension,
    .create = create,
    .open = open,
    .feed = feed,
    .datagram = datagram,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
