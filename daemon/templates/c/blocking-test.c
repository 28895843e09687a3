/* A conversation with the plugin on a stream of a few lines, whole and a byte at a time. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "polyport_plugin.h"

static const char text[] = "one\ntwo\r\n\n";
static const char expected[] = "Welcome\r\nONE\nTWO\r\n2 lines. Bye.\r\n";

static char received[4096];
static size_t length, at, piece;

static pp_status give(void *inner, void *buffer, size_t capacity, uint32_t flags, size_t *got)
{
  (void)inner; (void)flags;
  size_t n = strlen(text) - at;
  if (n > piece) n = piece;
  if (n > capacity) n = capacity;
  memcpy(buffer, text + at, n);
  at += n;
  *got = n;
  return PP_OK;
}

static pp_status take(void *inner, const void *bytes, size_t n, uint32_t flags)
{
  (void)inner; (void)flags;
  assert(n <= sizeof received - length);
  memcpy(received + length, bytes, n);
  length += n;
  return PP_OK;
}

static pp_status wait_until(void *inner, uint64_t ms)
{
  (void)inner; (void)ms;
  return PP_OK;
}

static void converse(size_t bytes)
{
  const pp_plugin *plugin = polyport_plugin_v1();
  const pp_blocking_1 *blocking = plugin->extension(PP_EXT_BLOCKING);
  const pp_value greeting = { .kind = PP_KIND_TEXT, .text = { (const uint8_t *)"Welcome", 7 } };
  const pp_settings settings = { .size = sizeof settings, .value_count = 1, .value_stride = sizeof greeting,
                                 .values = &greeting };
  const pp_host_api api = { .size = sizeof api, .major = PP_MAJOR, .minor = PP_MINOR };
  const pp_session_info info = { .size = sizeof info };
  const pp_stream stream = { .size = sizeof stream, .session = 1, .read = give, .write = take,
                             .deadline = wait_until };
  void *instance = NULL;
  length = at = 0;
  piece = bytes;
  assert(plugin->create(&api, NULL, &settings, &instance, NULL) == PP_OK);
  assert(blocking->serve(instance, &stream, &info) == PP_OK);
  plugin->destroy(instance);
  assert(length == strlen(expected) && memcmp(received, expected, length) == 0);
}

int main(void)
{
  converse(4096);
  converse(1);
  converse(5);
  puts("lines come back in capitals: ok");
  return 0;
}
