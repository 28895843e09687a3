/* An echo whose sessions are carried, and that lies about it as its CASE_x says. */
#include <polyport_plugin.h>
#include <string.h>

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
  return api->write(host, session, bytes, n, 0);
}

static pp_status export_session(void *host, pp_session session, void *state, uint8_t *into,
                                size_t capacity, size_t *written) {
  (void)host, (void)session, (void)state;
  memset(into, 'x', capacity);
  *written = 3;
#if defined(CASE_exports_too_much)
  *written = capacity + 1;
#elif defined(CASE_exports_endless)
  *written = (size_t)-1;
#elif defined(CASE_exports_not)
  return PP_E_FAIL;
#endif
  return PP_OK;
}

static pp_status import_session(void *host, pp_session session, const pp_session_info *info,
                                uint32_t format, const uint8_t *bytes, size_t n, void **state,
                                pp_text *why) {
  (void)host, (void)session, (void)info, (void)format, (void)bytes, (void)n, (void)state, (void)why;
#if defined(CASE_imports_not)
  return PP_E_FAIL;
#elif defined(CASE_imports_with_a_long_reason)
  memset(why->ptr, 'x', why->cap);
  why->len = (size_t)-1;
  return PP_E_FAIL;
#elif defined(CASE_imports_strangely)
  return 4711;
#endif
  return PP_OK;
}

static const pp_carry_1 carry = {sizeof carry, 1, export_session, import_session};

static const void *extension(const char *id) {
  return strcmp(id, PP_EXT_CARRY) == 0 ? &carry : NULL;
}

static const pp_plugin table = {
    .magic = PP_MAGIC, .size = sizeof table, .major = PP_MAJOR, .minor = PP_MINOR, .name = "carries",
    .extension = extension, .create = create, .feed = feed};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
