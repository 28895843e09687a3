/* The blocking style in C: echo, one thread a peer. Build: cc -shared -fPIC -I../include blocking.c -o echo.so */
#include <string.h>
#include "polyport_plugin.h"
static pp_status serve(void *instance, const pp_stream *s, const pp_session_info *info)
{
  (void)instance; (void)info;
  char buffer[4096];
  size_t n = 0;
  pp_status status = PP_OK;
  do { /* until the end of the peer's stream, or until a call says why not to go on */
    status = s->deadline(s->inner, 60000);
    if (status == PP_OK) status = s->read(s->inner, buffer, sizeof buffer, 0, &n);
    if (status == PP_OK) status = s->write(s->inner, buffer, n, 0);
  } while (status == PP_OK && n > 0);
  return status;
}
static const pp_blocking_1 blocking = { .size = sizeof blocking, .serve = serve };
static const void *extension(const char *id)
{ return strcmp(id, PP_EXT_BLOCKING) == 0 ? &blocking : NULL; }
static const pp_plugin plugin = { .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "echo", .version = "1.0.0", .extension = extension };
const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
