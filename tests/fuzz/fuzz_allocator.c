// SPDX-License-Identifier: GPL-2.0-or-later
// Copyright The weft authors
// Owns: fuzzing the allocator: each pair of bytes is one thing that happens to a small subnet of both families.
#include "fuzz.h"

#include "core/mem.h"
#include "core/strbuf.h"
#include "ipam/allocator.h"

#define QUARANTINE_MS 100

struct world {
	struct allocator *allocator;
	uint64_t now;
};

static void add(struct world *world, uint8_t arg)
{
	struct allocator_request request = { .key = { "n", NULL, "eth0" }, .ns = "ns", .pod = "p" };
	struct holder *holder = NULL;
	struct refusal why = { 0 };
	char cid[8];
	int r;

	(void)text_format(cid, sizeof(cid), "c%u", arg % 16U);
	request.key.cid = cid;
	request.sticky = arg & 16;
	if (arg & 32)
		request.ips[FAMILY_V4] = ip_v4(0x0a010200U + (arg >> 6) * 3U);
	r = allocator_add(world->allocator, &request, world->now, &holder, &why);
	must((r < 0) == (why.code != 0));
	must(r < 0 || (ip_is_set(&holder->ips[FAMILY_V4]) && ip_is_set(&holder->ips[FAMILY_V6])) ||
	     r == 1);
}

static struct holder *find(struct world *world, uint8_t arg)
{
	char cid[8];

	(void)text_format(cid, sizeof(cid), "c%u", arg % 16U);
	return allocator_find(world->allocator, &(struct owner_key){ "n", cid, "eth0" });
}

static struct address_record *record_of(const struct slot *slot, uint8_t arg)
{
	struct address_record *record = xnew(struct address_record);

	record->ip = slot->ip;
	record->net = xstrdup("");
	record->cid = xstrdup("");
	record->ifname = xstrdup("");
	record->ns = xstrdup("ns");
	record->pod = xstrdup(arg & 64 ? "p" : "q");
	record->uid = xstrdup("");
	record->node = xstrdup("");
	record->boot = xstrdup("");
	record->state = arg & 128 ? ADDRESS_RESERVED : ADDRESS_USED;
	return record;
}

static void pass_over(struct world *world, uint8_t arg)
{
	struct holder *holder = find(world, arg);
	struct slot *slot = holder ? allocator_slot_of(world->allocator, holder,
						       arg & 32 ? FAMILY_V6 : FAMILY_V4)
				   : NULL;
	struct refusal why;

	if (slot && allocator_pass_over(world->allocator, holder, slot,
					arg & 16 ? record_of(slot, arg) : NULL, world->now, &why) < 0)
		allocator_release(world->allocator, holder, world->now);
}

static void store_says(struct world *world, uint8_t arg)
{
	const struct ip ip = ip_v4(0x0a010200U + arg % 8U);
	struct slot *slot = allocator_slot(world->allocator, &ip);

	if (!slot || slot->state == SLOT_USED)
		return;
	if (arg & 8)
		allocator_set_free(world->allocator, slot, world->now);
	else if (arg & 16)
		allocator_keep(world->allocator, slot, record_of(slot, arg | 128), arg);
	else
		allocator_set_foreign(world->allocator, slot, NULL, arg);
}

static void store_takes(struct world *world)
{
	struct slot *slot = allocator_next_wanting(world->allocator);

	if (!slot)
		return;
	must(slot->want == WANT_PUT ? slot->state == SLOT_USED || slot->state == SLOT_KEPT
				    : slot->state == SLOT_RESTING || slot->state == SLOT_FOREIGN);
	must(slot->state != SLOT_USED || slot->holder);
	slot->want = WANT_NOTHING;
}

struct tally {
	struct world *world;
	size_t used, holders;
};

static void check_slot(void *arg, struct slot *slot)
{
	struct tally *tally = arg;

	must((slot->state == SLOT_USED) == (slot->holder != NULL));
	if (!slot->holder)
		return;
	tally->used++;
	must(ip_equal(&slot->holder->ips[family_of(&slot->ip)], &slot->ip));
}

static void check_holder(void *arg, struct holder *holder)
{
	struct tally *tally = arg;

	for (int family = 0; family < FAMILY_COUNT; family++) {
		struct slot *slot =
			allocator_slot_of(tally->world->allocator, holder, (enum family)family);

		if (!slot)
			continue;
		must(slot->holder == holder);
		tally->holders++;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world world = { .allocator = allocator_new(QUARANTINE_MS), .now = 1000 };
	struct subnet subnet = { 0 };

	must(ipnet_parse("10.1.2.0/29", &subnet.v4) == 0 && ipnet_parse("fd00::/124", &subnet.v6) == 0);
	allocator_set_subnet(world.allocator, &subnet);
	for (size_t i = 0; i + 1 < size; i += 2) {
		struct tally tally = { .world = &world };
		struct holder *holder;

		switch (data[i] % 6) {
		case 0:
			add(&world, data[i + 1]);
			break;
		case 1:
			holder = find(&world, data[i + 1]);
			if (holder)
				allocator_release(world.allocator, holder, world.now);
			break;
		case 2:
			world.now += data[i + 1];
			break;
		case 3:
			pass_over(&world, data[i + 1]);
			break;
		case 4:
			store_says(&world, data[i + 1]);
			break;
		default:
			store_takes(&world);
		}
		allocator_each_slot(world.allocator, check_slot, &tally);
		allocator_each_holder(world.allocator, check_holder, &tally);
		must(tally.used == tally.holders);
	}
	allocator_free(world.allocator);
	return 0;
}
