/* The blocking example of the SDK in C, as it stands there. */
#include "../../../plugin-api/examples/blocking.c"
