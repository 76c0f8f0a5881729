// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: the checks of `weft doctor` for other programs that manage devices and firewalls: what they say of our devices below /run.
#include "cli/doctor.h"

#include "cli/show.h"
#include "core/mem.h"
#include "core/strbuf.h"

#include <string.h>

// ---- firewalld ----

void doctor_firewalld(struct doctor *doctor)
{
	const char *device = doctor_device(doctor, 0);
	const json_t *devices = show_member(show_member(doctor->status, "backend"), "devices");
	long long port = show_number(json_array_get(devices, 0), "port");
	_cleanup_free_ char *open_port = NULL, *mend = NULL;

	if (!device || !doctor_program_runs("firewalld"))
		return;
	open_port = port > 0 ? xasprintf(" && firewall-cmd --permanent --add-port=%lld/udp", port)
			     : xstrdup("");
	mend = xasprintf("firewall-cmd --permanent --zone=trusted --add-interface=%s%s && firewall-cmd --reload",
			 device, open_port);
	doctor_find(doctor, mend, "firewalld runs here, and may not know %s", device);
}

// ---- who manages our devices ----

// The value behind "NAME=" at the beginning of a line; false: there is none.
static bool setting_is(const char *text, const char *name, const char *value)
{
	size_t name_len = strlen(name), len = strlen(value);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (strncmp(line, name, name_len) == 0 && line[name_len] == '=' &&
		    strncmp(line + name_len + 1, value, len) == 0 &&
		    (line[name_len + 1 + len] == '\n' || line[name_len + 1 + len] == '\0'))
			return true;
	}
	return false;
}

// What a program keeps of each device that is there, in a file named by the index.
static char *state_of(const char *directory, const char *device)
{
	_cleanup_free_ char *path = xasprintf("%s%u", directory, doctor_ifindex(device));

	return doctor_file(path);
}

void doctor_network_manager(struct doctor *doctor)
{
	const char *device;

	for (size_t i = 0; (device = doctor_device(doctor, i)); i++) {
		_cleanup_free_ char *state = state_of("/run/NetworkManager/devices/", device);

		_cleanup_free_ char *mend = xasprintf("nmcli device set %s managed no", device);

		if (setting_is(state, "managed", "true"))
			doctor_find(doctor, mend, "NetworkManager manages %s", device);
	}
}

void doctor_networkd(struct doctor *doctor)
{
	const char *device;

	for (size_t i = 0; (device = doctor_device(doctor, i)); i++) {
		_cleanup_free_ char *state = state_of("/run/systemd/netif/links/", device);

		_cleanup_free_ char *mend = xasprintf(
			"printf '[Match]\\nName=%s\\n[Link]\\nUnmanaged=yes\\n' > /etc/systemd/network/10-weft.network"
			" && networkctl reload",
			device);

		if (*state && !setting_is(state, "ADMIN_STATE", "unmanaged"))
			doctor_find(doctor, mend, "systemd-networkd manages %s", device);
	}
}

// ---- udev ----

// The .link file by which udev set the device up; "" if none. Caller frees.
static char *link_file(const char *device)
{
	static const char key[] = "E:ID_NET_LINK_FILE=";
	_cleanup_free_ char *state = state_of("/run/udev/data/n", device);
	const char *at = strstr(state, key);

	if (!at)
		return xstrdup("");
	at += strlen(key);
	return xstrndup(at, strcspn(at, "\n"));
}

void doctor_udev(struct doctor *doctor)
{
	const char *device;

	for (size_t i = 0; (device = doctor_device(doctor, i)); i++) {
		_cleanup_free_ char *path = link_file(device);
		_cleanup_free_ char *text = doctor_file(path);

		_cleanup_free_ char *mend = xasprintf(
			"printf '[Match]\\nOriginalName=%s\\n[Link]\\nMACAddressPolicy=none\\n' > /etc/systemd/network/10-weft.link",
			device);

		if (setting_is(text, "MACAddressPolicy", "persistent") ||
		    setting_is(text, "MACAddressPolicy", "random"))
			doctor_find(doctor, mend,
				    "udev has set up %s by %s, which gives MAC addresses", device,
				    path);
	}
}
