/* A library that nobody loads, for libabigail to read: one function for each type of the header that
 * can be reached by no other, so that its description has all of them. `make abidiff` compares it. */
#include <polyport_plugin.h>

#define REACHES(type) \
  const type *reaches_##type(const type *it); \
  const type *reaches_##type(const type *it) { return it; }

REACHES(pp_bytes)
REACHES(pp_text)
REACHES(pp_address)
REACHES(pp_option)
REACHES(pp_value)
REACHES(pp_settings)
REACHES(pp_session_info)
REACHES(pp_datagram)
REACHES(pp_host_api)
REACHES(pp_plugin)
REACHES(pp_needs_1)
REACHES(pp_stream)
REACHES(pp_blocking_1)
REACHES(pp_work_1)
REACHES(pp_work_sink_1)
REACHES(pp_file_1)
REACHES(pp_carry_1)
REACHES(pp_bus_message)
REACHES(pp_bus_1)
REACHES(pp_bus_sink_1)
REACHES(pp_metric)
REACHES(pp_metrics_1)

const pp_plugin *polyport_plugin_v1(void) { return 0; }
