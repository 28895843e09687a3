/* A conversation with the plugin on a host of a few lines, whole and a byte at a time. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "polyport_plugin.h"

static char received[4096];
static size_t length;
static int closed;

static pp_status take(pp_host *host, pp_session id, const void *bytes, size_t n, uint32_t flags)
{
  (void)host; (void)id; (void)flags;
  assert(n <= sizeof received - length);
  memcpy(received + length, bytes, n);
  length += n;
  return PP_OK;
}

static pp_status end(pp_host *host, pp_session id, uint32_t how, const char *why, size_t n)
{
  (void)host; (void)id; (void)how; (void)why; (void)n;
  closed = 1;
  return PP_OK;
}

static const pp_host_api api = { .size = sizeof api, .major = PP_MAJOR, .minor = PP_MINOR, .write = take,
                                 .close = end };

static void converse(size_t piece)
{
  const pp_plugin *plugin = polyport_plugin_v1();
  const char text[] = "one\ntwo\r\n\n", expected[] = "Welcome\r\nONE\nTWO\r\n2 lines. Bye.\r\n";
  const size_t n = strlen(text);
  const pp_value greeting = { .kind = PP_KIND_TEXT, .text = { (const uint8_t *)"Welcome", 7 } };
  const pp_settings settings = { .size = sizeof settings, .value_count = 1, .value_stride = sizeof greeting,
                                 .values = &greeting };
  const pp_session_info info = { .size = sizeof info };
  void *instance = NULL, *state = NULL;
  length = 0;
  closed = 0;
  assert(plugin->create(&api, NULL, &settings, &instance, NULL) == PP_OK);
  assert(plugin->open(instance, 1, &info, &state) == PP_OK);
  for (size_t at = 0, arrived = 0; arrived < n && !closed;) {
    size_t consumed = 0;
    arrived = arrived + piece < n ? arrived + piece : n;
    assert(plugin->feed(instance, 1, state, (const uint8_t *)text + at, arrived - at, &consumed) == PP_OK);
    assert(consumed <= arrived - at);
    at += consumed;
    if (at == arrived && at == n) break;
  }
  plugin->closed(instance, 1, state, PP_END_FINISHED);
  plugin->destroy(instance);
  assert(closed && length == strlen(expected) && memcmp(received, expected, length) == 0);
}

int main(void)
{
  converse(4096);
  converse(1);
  converse(5);
  puts("lines come back in capitals: ok");
  return 0;
}
