/* An echo that breaks one rule, the one that its CASE_x names, and would be taken all the same. */
#include <polyport_plugin.h>
#include <stdlib.h>
#include <unistd.h>

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

static pp_status open_session(void *host, pp_session session, const pp_session_info *info,
                              void **state) {
  (void)host, (void)session, (void)info, (void)state;
#if defined(CASE_memory)
  *state = malloc(100);
#elif defined(CASE_descriptor)
  return dup(2) >= 0 ? PP_OK : PP_E_FAIL;
#endif
  return PP_OK;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
#if defined(CASE_pieces)
  return api->write(host, session, bytes, 1, 0); /* of what may be many */
#elif defined(CASE_full)
  (void)api->write(host, session, bytes, n, 0); /* consumed, whether it was taken or not */
  return PP_OK;
#elif defined(CASE_null)
  if (bytes[0] == 0) *(volatile int *)(uintptr_t)16 = 1;
  return api->write(host, session, bytes, n, 0);
#else
  return api->write(host, session, bytes, n, 0);
#endif
}

static const pp_plugin plugin = {
    .magic = PP_MAGIC,
    .size = sizeof plugin,
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "breaks",
    .version = "1.0.0",
    .create = create,
    .open = open_session,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
