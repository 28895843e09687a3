/* polyport.file/1: a file goes to whoever asks, and its bytes never pass through here. */
#define _POSIX_C_SOURCE 200809L
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <polyport_plugin.h>

struct sending {
  pp_host *host;
  const pp_file_1 *files;
  char path[1024];
};

static const pp_host_api *api;

static const pp_option options[] = {
  { .name = "file", .help = "What everybody is sent.", .kind = PP_KIND_TEXT },
};

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  pp_bytes written = PP_VALUE(settings, 0)->text;
  const pp_file_1 *files = given->extension(host, PP_EXT_FILE);
  (void)error;
  if (!files) return PP_E_UNSUPPORTED;
  struct sending *sending = calloc(1, sizeof *sending);
  if (!sending) return PP_E_FAIL;
  api = given;
  sending->host = host;
  sending->files = files;
  snprintf(sending->path, sizeof sending->path, "%.*s", (int)written.len, (const char *)written.ptr);
  *instance = sending;
  return PP_OK;
}

static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  struct sending *sending = instance;
  struct stat facts;
  (void)state, (void)bytes;
  int fd = open(sending->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &facts) != 0) {
    if (fd >= 0) close(fd);
    return PP_E_FAIL;
  }
  pp_status status = sending->files->send(sending->host, session, fd, 0, (uint64_t)facts.st_size);
  if (status != PP_OK) {
    close(fd); /* with PP_OK it is the host's, which closes it */
    return status;
  }
  *consumed = n;
  return api->close(sending->host, session, PP_CLOSE_FINISH, "sent", 4); /* which waits for the file */
}

static const void *extension(const char *id)
{
  static const char *const read[] = {"$file", NULL};
  static const pp_needs_1 needs = {sizeof needs, 0, read, NULL};
  return strcmp(id, PP_EXT_NEEDS) == 0 ? &needs : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "sending", .version = "1.0.0",
  .options = options, .option_count = 1, .option_stride = sizeof(pp_option),
  .extension = extension, .create = create, .destroy = free, .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
