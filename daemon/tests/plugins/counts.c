/* Defines metrics, rightly and wrongly, and tells what it was answered. Each byte of input counts: '!'
 * crashes, 'd' tells of the definitions, 'w' asks wrongly, 't' asks from a thread of its own, any other is counted and sent back. */
#include <polyport_plugin.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static const pp_host_api *api;
static const pp_metrics_1 *metrics;
static uint32_t bytes_seen, open_now, sizes;
static char told[1 << 12];

static pp_bytes text(const char *c) { return (pp_bytes){(const uint8_t *)c, strlen(c)}; }

static pp_status define(pp_host *host, uint32_t kind, const char *name, const char *help,
                        const uint64_t *bounds, size_t count, uint32_t *metric) {
  const pp_metric what = {sizeof what, kind, text(name), text(help), bounds, count};
  return metrics->define(host, &what, metric);
}

static size_t tell(size_t at, const char *what, pp_status answer) {
  return at + (size_t)snprintf(told + at, sizeof told - at, "%s %d\n", what, answer);
}

static void wrongly(pp_host *h) {
  static const uint64_t falling[] = {2, 1};
  const uint32_t counter = PP_METRIC_COUNTER, histogram = PP_METRIC_HISTOGRAM;
  uint32_t metric = 99;
  pp_metric what = {sizeof what, counter, text("a"), text("A."), NULL, 0};
  size_t at = 0;
  at = tell(at, "null", metrics->define(h, NULL, &metric));
  at = tell(at, "no place", metrics->define(h, &what, NULL));
  at = tell(at, "no host", metrics->define(NULL, &what, &metric));
  what.size = 8;
  at = tell(at, "short", metrics->define(h, &what, &metric));
  what.size = sizeof what;
  what.name = (pp_bytes){NULL, 3};
  at = tell(at, "null name", metrics->define(h, &what, &metric));
  what.name = (pp_bytes){(const uint8_t *)"a", (size_t)-1};
  at = tell(at, "endless name", metrics->define(h, &what, &metric));
  what.name = text("a");
  what.bound_count = (size_t)-1 / 8;
  at = tell(at, "endless bounds", metrics->define(h, &what, &metric));
  at = tell(at, "bad name", define(h, counter, "a{x=\"\x1b[2J\"}", "A.", NULL, 0, &metric));
  at = tell(at, "taken ending", define(h, counter, "lines_total", "A.", NULL, 0, &metric));
  at = tell(at, "bad help", define(h, counter, "a", "one\ntwo", NULL, 0, &metric));
  at = tell(at, "bad kind", define(h, 9, "a", "A.", NULL, 0, &metric));
  at = tell(at, "null bounds", define(h, histogram, "a", "A.", NULL, 2, &metric));
  at = tell(at, "falling", define(h, histogram, "a", "A.", falling, 2, &metric));
  at = tell(at, "twice", define(h, counter, "bytes_seen", "A.", NULL, 0, &metric));
  tell(at, "untouched", (pp_status)metric);
}

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  static const uint64_t bounds[] = {1, 10};
  (void)settings, (void)error;
  api = given;
  *instance = host;
  metrics = (const pp_metrics_1 *)api->extension(host, PP_EXT_METRICS);
  if (metrics == NULL || !PP_HAS(pp_metrics_1, metrics, record)) return PP_E_UNSUPPORTED;
  if (define(host, PP_METRIC_COUNTER, "bytes_seen", "Bytes that came.", NULL, 0, &bytes_seen) ||
      define(host, PP_METRIC_GAUGE, "open_now", "Sessions.", NULL, 0, &open_now) ||
      define(host, PP_METRIC_HISTOGRAM, "sizes", "Of what came.", bounds, 2, &sizes))
    return PP_E_FAIL;
  wrongly(host);
#ifdef CASE_many
  char name[32];
  uint32_t metric;
  int n = 3;
  pp_status last;
  do {
    snprintf(name, sizeof name, "many_%04d", n++ % 10000);
    last = define(host, PP_METRIC_COUNTER, name, "One of many.", NULL, 0, &metric);
  } while (last == PP_OK);
  snprintf(told, sizeof told, "%d defined, then %d\n", n - 1, last);
#endif
  return PP_OK;
}

static size_t wrong_numbers(pp_host *h, char *line, size_t n) {
  uint32_t late = 99;
  return (size_t)snprintf(line, n, "late %d %d, add %d %d %d, change %d, set %d, record %d, host %d\n",
                          define(h, PP_METRIC_COUNTER, "late", "Late.", NULL, 0, &late), (int)late,
                          metrics->add(h, 0, 1), metrics->add(h, 65, 1), metrics->add(h, open_now, 1),
                          metrics->change(h, bytes_seen, 1), metrics->set(h, sizes, 1),
                          metrics->record(h, 0xffffffff, 1), metrics->add(NULL, bytes_seen, 1));
}

static void *elsewhere(void *host) {
  static char answer[16];
  snprintf(answer, sizeof answer, "thread %d\n", metrics->add((pp_host *)host, bytes_seen, 1));
  return answer;
}

static pp_status opened(void *host, pp_session session, const pp_session_info *info, void **state) {
  (void)info, (void)state, (void)session;
  return metrics->change(host, open_now, 1);
}

static void closed(void *host, pp_session session, void *state, uint32_t why) {
  (void)session, (void)state, (void)why;
  metrics->change(host, open_now, -1);
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  char line[256];
  (void)state;
  *consumed = n;
  if (bytes[0] == '!') *(volatile int *)(uintptr_t)16 = 1;
  if (bytes[0] == 'd') return api->write(host, session, told, strlen(told), 0);
  if (bytes[0] == 'w') return api->write(host, session, line, wrong_numbers(host, line, sizeof line), 0);
  if (bytes[0] == 't') {
    pthread_t id;
    void *answer = NULL;
    if (pthread_create(&id, NULL, elsewhere, host) != 0 || pthread_join(id, &answer) != 0) return PP_E_FAIL;
    return api->write(host, session, answer, strlen(answer), 0);
  }
  if (metrics->add(host, bytes_seen, n) || metrics->record(host, sizes, n)) return PP_E_FAIL;
  return api->write(host, session, bytes, n, 0);
}

static const char *const required[] = {PP_EXT_METRICS, NULL};
static const pp_plugin table = {
    .magic = PP_MAGIC, .size = sizeof table, .major = PP_MAJOR, .minor = PP_MINOR,
    .name = "counts", .required_ext = required, .create = create, .open = opened, .feed = feed,
    .closed = closed};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
