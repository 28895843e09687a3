/* A sample for datagrams: each comes back in capitals. An answer is never longer than its question, so
 * nobody can turn it on others by forging a source. */
#include <ctype.h>
#include <stddef.h>
#include "polyport_plugin.h"

static const pp_host_api *api; /* one table per process, so instances may share it */

static pp_status create(const pp_host_api *a, pp_host *host, const pp_settings *settings, void **instance,
                        pp_text *error)
{
  (void)settings; (void)error;
  api = a;
  *instance = host;
  return PP_OK;
}

static pp_status datagram(void *host, const pp_datagram *from, const uint8_t *bytes, size_t n)
{
  static uint8_t answer[65507]; /* the one thread of the event loop is its only user */
  if (n == 0 || n > sizeof answer || (from->flags & PP_INFO_TO_MANY)) return PP_OK;
  for (size_t i = 0; i < n; i++) answer[i] = (uint8_t)toupper(bytes[i]);
  return api->send((pp_host *)host, from->reply_token, NULL, answer, n);
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "@NAME@", .version = "0.1.0", .create = create, .datagram = datagram,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
