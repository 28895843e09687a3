/* Starts in order, and dies soon after, whoever comes: by a timer of its own. Until then it echoes. */
#include <polyport_plugin.h>
#include <stdlib.h>

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  pp_timer timer;
  api = given;
  *instance = host;
  return api->timer_set(host, 20, 1, &timer);
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
  return api->write(host, session, bytes, n, 0);
}

static void timer(void *host, pp_timer which, uint64_t token) {
  (void)host, (void)which, (void)token;
  abort();
}

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "fades",
    .create = create,
    .feed = feed,
    .timer = timer,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
