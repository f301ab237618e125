/* device_options: the options --device, --ngl and --rpc. */
#ifndef JUDGEQ_CLI_DEVICE_OPTIONS_H
#define JUDGEQ_CLI_DEVICE_OPTIONS_H

#include "app/devices.h"
#include "command_line.h"

/* For a command's table. */
extern const command_option device_options_rows[];

/* None of them given. Where a server is lost, the command ends with a message. */
devices device_options_default(void);

/* What there is, as a table or as JSON; the exit status. */
int device_options_print(const devices *d, bool json);

#endif
