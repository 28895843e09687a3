/* The smallest plugin in C: echo. Build: cc -shared -fPIC -I../include smallest.c -o echo.so */
#include "polyport_plugin.h"
static const pp_host_api *api; /* one table per process, so instances may share it */
static pp_status create(const pp_host_api *a, pp_host *host, const pp_settings *s, void **instance, pp_text *error)
{ (void)s; (void)error; api = a; *instance = host; return PP_OK; }
static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n, size_t *consumed)
{ (void)state; *consumed = n; return api->write((pp_host *)host, session, bytes, n, 0); }
static const pp_plugin plugin = { .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "echo", .version = "1.0.0", .create = create, .feed = feed };
const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
