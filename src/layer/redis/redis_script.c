/* redis_script.c - the script that every write, lease and deletion is: see redis_script.h.
 *
 * One text for all of them, so that the server knows all or none.  Lua counts in doubles, which hold what is below 2^53
 * exactly: microseconds do until the year 2255.  A value is never parsed beyond its head.
 *
 *   KEYS   the data key, the key of the store's life, which a Cluster has none of; "life": the latter, and the list of bans; "ban": that
 *          list, and the life; "clear": data keys
 *          alone; "sweep": data keys, and where there is a list the life; "reign": a key of the slot, or none
 *   ARGV   what to do, a life to begin with should there be none, and then as strata__redis_... (redis_call.c) says
 *   reply  code, life, microseconds, version, and: of an entry its bytes, of a lease that is held its milliseconds */
#include "src/layer/redis/redis_script.h"

#include "src/base/sha1.h"

/* Numbers. */
#define NUMBERS \
    "local function le8(n)\n" \
    "  local b = {}\n" \
    "  for i = 1, 8 do b[i] = n % 256; n = math.floor(n / 256) end\n" \
    "  return string.char(unpack(b))\n" \
    "end\n" \
    "local function num(s, at)\n" \
    "  local n = 0\n" \
    "  for i = at + 7, at, -1 do n = n * 256 + (string.byte(s, i) or 0) end\n" \
    "  return n < 9007199254740992 and n or 0\n" \
    "end\n" \
    "local function wide(n, size)\n" \
    "  local b = {}\n" \
    "  for i = 1, size do b[i] = n % 128 + (i < size and 128 or 0); n = math.floor(n / 128) end\n" \
    "  return string.char(unpack(b))\n" \
    "end\n"

/* An envelope's version and life, which stand behind up to five durations; life '' where it has no stamp. */
#define STAMP \
    "local function stamp(v)\n" \
    "  local at = 4\n" \
    "  local function varint()\n" \
    "    local n, scale, b = 0, 1, 0\n" \
    "    repeat b = string.byte(v, at) or 0; at = at + 1; n = n + b % 128 * scale; scale = scale * 128 until b < " \
    "128\n" \
    "    return n < 9007199254740992 and n or 0\n" \
    "  end\n" \
    "  varint()\n" \
    "  local has = varint()\n" \
    "  for _ = 1, 5 do if has % 2 == 1 then varint() end has = math.floor(has / 2) end\n" \
    "  local version = has % 2 == 1 and varint() or 0\n" \
    "  has = math.floor(has / 2)\n" \
    "  return version, has % 2 == 1 and string.sub(v, at, at + 7) or ''\n" \
    "end\n"

/* What stands there, by its first bytes: nothing, entry, lease, tombstone, foreign. */
#define LOOK \
    "local function look(v)\n" \
    "  local e = { kind = 'foreign', version = 0, life = '', inner = '' }\n" \
    "  local head = string.sub(v, 1, 2)\n" \
    "  if v == '' then e.kind = 'nothing'\n" \
    "  elseif head == '\\202\\1' then e.kind = 'entry'; e.inner = v; e.version, e.life = stamp(v)\n" \
    "  elseif head == '\\203\\1' and #v >= 43 then\n" \
    "    e.kind = 'lease'; e.flags = string.byte(v, 3); e.token = string.sub(v, 4, 19)\n" \
    "    e.version = num(v, 20); e.life = string.sub(v, 28, 35); e.untl = num(v, 36)\n" \
    "    e.inner = string.sub(v, 44)\n" \
    "  elseif head == '\\204\\1' and #v >= 18 then e.kind = 'tombstone'; e.version = num(v, 3); e.life = " \
    "string.sub(v, 11, 18)\n" \
    "  end\n" \
    "  return e\n" \
    "end\n"

/* A few bytes that have to be there.  A server without room refuses what a script begins with; but one that has written, be it a
 * deletion, may go on. */
#define FORCE \
    "local function force(key, ...)\n" \
    "  if redis.pcall('SET', key, ...).err then\n" \
    "    redis.call('DEL', key)\n" \
    "    redis.call('SET', key, ...)\n" \
    "  end\n" \
    "end\n"

/* The life: of the server's key, or a new one. */
#define LIFE \
    "local time = redis.call('TIME')\n" \
    "local us = time[1] * 1000000 + time[2]\n" \
    "local ms = math.floor(us / 1000)\n" \
    "local function run_id()\n" \
    "  local info = redis.pcall('INFO', 'server')\n" \
    "  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''\n" \
    "end\n" \
    "local function life_of(key)\n" \
    "  local v = redis.pcall('GETRANGE', key, 0, 63)\n" \
    "  if type(v) == 'table' and not string.find(v.err, 'WRONGTYPE', 1, true) then redis.call('GETRANGE', key, 0, " \
    "63) " \
    "end\n" /* raises: what may not be read is not gone */ \
    "  if type(v) ~= 'string' or #v < 10 or string.sub(v, 1, 2) ~= '\\205\\1' then return nil, '' end\n" \
    "  return string.sub(v, 3, 10), string.sub(v, 11)\n" \
    "end\n" \
    "local function begin(key, run)\n" \
    "  force(key, '\\205\\1' .. ARGV[2] .. run)\n" \
    "  return ARGV[2]\n" \
    "end\n"

/* In a Cluster a life is a master's reign, which has a name: its own from when it is started, and from when it is promoted.  '': it is
 * a replica.  Where it may not be asked there is one life, which never ends. */
#define REIGN \
    "local function reign()\n" \
    "  local info = redis.pcall('INFO', 'replication')\n" \
    "  local id = type(info) == 'string' and string.match(info, 'master_replid:(%x+)')\n" \
    "  if not id or #id < 16 then return '\\1\\0\\0\\0\\0\\0\\0\\0', 0 end\n" \
    "  if not string.find(info, 'role:master', 1, true) then return '', 1 end\n" \
    "  local life = ''\n" \
    "  for i = 1, 15, 2 do life = life .. string.char(tonumber(string.sub(id, i, i + 1), 16)) end\n" \
    "  return life, 1\n" \
    "end\n"

#define DO_REIGN \
    "if ARGV[1] == 'reign' then\n" \
    "  local life, known = reign()\n" \
    "  return { 0, life, us, known }\n" \
    "end\n"

/* The list of bans (docs/formats.md): its last position, that of the last one that was forgotten, and bans, each behind its
 * position.  Positions are microseconds, and grow.  Reading: the head, and what is behind a position; '' where there is no list.  Where
 * the position that its node knows is not in it, or it ends before one that its node has heard of otherwise, the list is lost, and maybe
 * bans with it: then another one begins, which has forgotten all up to now. */
#define BANS \
    "local function bans_of(key, last)\n" \
    "  local v = redis.pcall('GETRANGE', key, 0, last)\n" \
    "  if type(v) ~= 'string' or #v < 18 or string.sub(v, 1, 2) ~= '\\206\\1' then return nil end\n" \
    "  return v\n" \
    "end\n" \
    "local function ban_size(v, at)\n" \
    "  local n = 0\n" \
    "  for i = at + 11, at + 8, -1 do n = n * 256 + (string.byte(v, i) or 0) end\n" \
    "  return 8 + math.max(n, 1)\n" \
    "end\n" \
    "local function since(key, known, heard)\n" \
    "  local v = bans_of(key, 17)\n" \
    "  if heard > us + 3600000000 then heard = 0 end\n" /* no store's word */ \
    "  local whole = heard <= num(v or '', 3)\n" \
    "  if v and num(v, 3) == known and whole then return v end\n" \
    "  v = v and bans_of(key, -1) or ''\n" \
    "  local at, first = 19, num(v, 11)\n" \
    "  local before = first\n" \
    "  while at <= #v and num(v, at) <= known do before = num(v, at); at = at + ban_size(v, at) end\n" \
    "  if whole and (known == 0 or before == known or first > known) then return string.sub(v, 1, 18) .. " \
    "string.sub(v, at) end\n" \
    "  local last = le8(math.max(us, known, heard, num(v, 3)) + 1)\n" \
    "  force(key, '\\206\\1' .. last .. last)\n" \
    "  return '\\206\\1' .. last .. last\n" \
    "end\n"

/* ban: [3] the ban, [4] bytes that the list may have. */
#define DO_BAN \
    "if ARGV[1] == 'ban' then\n" \
    "  local life = life_of(KEYS[2]) or begin(KEYS[2], run_id())\n" \
    "  local v = bans_of(KEYS[1], -1) or ''\n" \
    "  local at, first, list = math.max(num(v, 3) + 1, us), num(v, 11), string.sub(v, 19)\n" \
    "  list = list .. le8(at) .. ARGV[3]\n" \
    "  local most, cut = tonumber(ARGV[4]), 1\n" \
    "  while #list > most and #list - cut >= most / 2 do\n" \
    "    first = num(list, cut)\n" \
    "    cut = cut + ban_size(list, cut)\n" \
    "  end\n" \
    "  force(KEYS[1], '\\206\\1' .. le8(at) .. le8(first) .. string.sub(list, cut))\n" \
    "  return { 0, life, us, at }\n" \
    "end\n"

/* Asked at every connect, and from time to time: a new life where the old one is gone, is another server's, or is one that
 * the caller knows to be over. */
#define DO_LIFE \
    "if ARGV[1] == 'life' then\n" \
    "  local life, owner = life_of(KEYS[1])\n" \
    "  local run = run_id()\n" \
    "  local over = life == nil or (run ~= '' and owner ~= run)\n" \
    "  for i = KEYS[2] and 4 or 3, #ARGV do over = over or ARGV[i] == life end\n" \
    "  if over then life = begin(KEYS[1], run) end\n" \
    "  return { 0, life, us, run ~= '' and 1 or 0, KEYS[2] and since(KEYS[2], num(ARGV[3], 1), num(ARGV[3], 9)) or " \
    "nil }\n" \
    "end\n"

/* A page of a clear, of one slot: leases go and are lost by that, tombstones stay. */
#define DO_CLEAR \
    "if ARGV[1] == 'clear' then\n" \
    "  local gone = 0\n" \
    "  for _, key in ipairs(KEYS) do\n" \
    "    local v = redis.pcall('GETRANGE', key, 0, 2)\n" \
    "    local head = type(v) == 'string' and string.sub(v, 1, 2) or ''\n" \
    "    if head ~= '\\204\\1' then\n" \
    "      gone = gone + redis.call(ARGV[3], key)\n" \
    "      if head == '\\203\\1' and string.byte(v, 3) % 2 == 1 then redis.pcall('PUBLISH', ARGV[4], key) end\n" \
    "    end\n" \
    "  end\n" \
    "  return { 0, '', us, gone }\n" \
    "end\n"

/* What else an envelope says (docs/formats.md): its life, its birth by the store's clock, its tags, its place in the list of bans. */
#define FIELDS \
    "local function fields(v)\n" \
    "  local at, e = 4, { life = '', born = 0, tags = '', position = 0 }\n" \
    "  local function varint()\n" \
    "    local n, scale, b = 0, 1, 0\n" \
    "    repeat b = string.byte(v, at) or 0; at = at + 1; n = n + b % 128 * scale; scale = scale * 128 until b < " \
    "128\n" \
    "    return n < 9007199254740992 and n or 0\n" \
    "  end\n" \
    "  local function text() local n = varint(); at = at + n; return string.sub(v, at - n, at - 1) end\n" \
    "  varint()\n" \
    "  local has = varint()\n" \
    "  local function bit() local b = has % 2 == 1; has = math.floor(has / 2); return b end\n" \
    "  for _ = 1, 6 do if bit() then varint() end end\n" /* durations, version */ \
    "  if bit() then e.life = string.sub(v, at, at + 7); at = at + 8 end\n" \
    "  if bit() then e.born = varint() end\n" \
    "  for _ = 1, 2 do if bit() then varint() end end\n" /* births elsewhere, and where that was */ \
    "  if bit() then at = at + 8 end\n" \
    "  for _ = 1, 4 do if bit() then varint() end end\n" /* position, load, codec, retry */ \
    "  if bit() then varint(); varint() end\n"           /* compression */ \
    "  if bit() then varint() end\n"                     /* dictionary */ \
    "  if bit() then varint(); e.tags = text() end\n" \
    "  for _ = 1, 3 do if bit() then text() end end\n" \
    "  if bit() then e.position = varint() end\n" \
    "  return e\n" \
    "end\n"

/* What a ban took, of keys that it concerns: entries alone.  [3] the command that removes, [4] the ban's position, 8 bytes; nothing in a
 * Cluster; [5] what was born after that many milliseconds stays, [6] 'any' or 'all' [7] of these tags, 8 bytes each; none: whatever
 * tags it has.  What was stored in another life of the store's, or for a cache with another prefix, is of another life. */
#define DO_SWEEP \
    "if ARGV[1] == 'sweep' then\n" \
    "  local count, gone, listed = #KEYS, 0, ARGV[4] ~= ''\n" \
    "  local life = ''\n" \
    "  if listed then life = life_of(KEYS[count]) or ''; count = count - 1 else life = reign() end\n" \
    "  local position, before = num(ARGV[4], 1), tonumber(ARGV[5])\n" \
    "  local function tagged(tags)\n" \
    "    if ARGV[7] == '' then return true end\n" \
    "    if #tags % 9 ~= 0 then return false end\n" \
    "    local has = {}\n" \
    "    for i = 1, #tags, 9 do has[string.sub(tags, i + 1, i + 8)] = true end\n" \
    "    for i = 1, #ARGV[7], 8 do\n" \
    "      if (has[string.sub(ARGV[7], i, i + 7)] == true) ~= (ARGV[6] == 'all') then return ARGV[6] ~= 'all' end\n" \
    "    end\n" \
    "    return ARGV[6] == 'all'\n" \
    "  end\n" \
    "  for i = 1, count do\n" \
    "    local v = redis.pcall('GETRANGE', KEYS[i], 0, 127)\n" \
    "    if type(v) == 'string' and string.sub(v, 1, 2) == '\\202\\1' then\n" \
    "      local size, scale, at, b = 0, 1, 4, 0\n" \
    "      repeat b = string.byte(v, at) or 0; at = at + 1; size = size + b % 128 * scale; scale = scale * 128 until " \
    "b < 128\n" \
    "      if size > 128 and size < 1048576 then v = redis.call('GETRANGE', KEYS[i], 0, size - 1) end\n" \
    "      local e = fields(v)\n" \
    "      if e.life ~= '' and e.life == life and e.born ~= 0 and e.born <= before and\n" \
    "          (not listed or e.position < position) and tagged(e.tags) then\n" \
    "        gone = gone + redis.call(ARGV[3], KEYS[i])\n" \
    "      end\n" \
    "    end\n" \
    "  end\n" \
    "  return { 0, life, us, gone }\n" \
    "end\n"

#define COMMON \
    "local key = KEYS[1]\n" \
    "local life = KEYS[2] and (life_of(KEYS[2]) or begin(KEYS[2], run_id())) or reign()\n" \
    "local function wake(e)\n" \
    "  if e.kind == 'lease' and e.flags % 2 == 1 then redis.pcall('PUBLISH', ARGV[3], key) end\n" \
    "end\n" \
    "local function put(v, px)\n" \
    "  if px == '' then redis.call('SET', key, v) else redis.call('SET', key, v, 'PX', px) end\n" \
    "end\n" \
    "local function tombstone(version, px) force(key, '\\204\\1' .. le8(version) .. life, 'PX', px) end\n" \
    "local function mine(e, token) return e.kind == 'lease' and e.token == token end\n" /* As long as it has to live yet, and as long as a lease at least. */ \
    "local function keep(least)\n" \
    "  local px = redis.call('PTTL', key)\n" \
    "  return px == -1 and '' or math.max(px, least)\n" \
    "end\n"

/* lease: [4] milliseconds, [5] token, [6] the version that a newer one is an answer beside, [7] '1': somebody waits. */
#define DO_LEASE \
    "if ARGV[1] == 'lease' then\n" \
    "  local v = redis.pcall('GET', key)\n" \
    "  if type(v) == 'table' then return v end\n" \
    "  local e = look(v or '')\n" \
    "  if e.kind == 'foreign' then return { 3, life, us, 0 } end\n" \
    "  local held = e.kind == 'lease' and e.life == life and e.untl > ms\n" \
    "  local version, of = e.version, e.life\n" \
    "  if e.kind == 'lease' and e.inner ~= '' then version, of = stamp(e.inner) end\n" \
    "  if e.inner ~= '' and (of == '' or of == life) and version > tonumber(ARGV[6]) then\n" \
    "    return { 1, life, us, version, e.inner }\n" \
    "  end\n" \
    "  if held then\n" \
    "    if ARGV[7] == '1' then redis.call('SETRANGE', key, 2, string.char(e.flags % 2 == 1 and e.flags or e.flags + " \
    "1)) end\n" \
    "    return { 2, life, us, 0, e.untl - ms }\n" \
    "  end\n" \
    "  local flags = (e.kind == 'tombstone' or e.kind == 'lease' and e.flags >= 2) and 2 or 0\n" \
    "  local lease_ms = tonumber(ARGV[4])\n" \
    "  put('\\203\\1' .. string.char(flags) .. ARGV[5] .. le8(e.version) .. life .. le8(ms + lease_ms) .. e.inner,\n" \
    "    (e.inner ~= '' or flags ~= 0) and keep(lease_ms) or lease_ms)\n" \
    "  return { 0, life, us, 0 }\n" \
    "end\n"

/* renew: [4] milliseconds, [5] token.  release: [4] milliseconds of a tombstone, [5] token. */
#define DO_RENEW \
    "if ARGV[1] == 'renew' or ARGV[1] == 'release' then\n" \
    "  local v = redis.pcall('GETRANGE', key, 0, 43)\n" \
    "  if type(v) == 'table' then return v end\n" \
    "  local e = look(v)\n" \
    "  if not mine(e, ARGV[5]) then return { 4, life, us, 0 } end\n" \
    "  if ARGV[1] == 'renew' then\n" \
    "    if e.life ~= life then return { 4, life, us, 0 } end\n" \
    "    local px = (e.inner ~= '' or e.flags >= 2) and keep(tonumber(ARGV[4])) or tonumber(ARGV[4])\n" \
    "    redis.call('SETRANGE', key, 35, le8(ms + ARGV[4]))\n" \
    "    if px ~= '' then redis.call('PEXPIRE', key, px) end\n" \
    "    return { 0, life, us, 0 }\n" \
    "  end\n" \
    "  if e.inner ~= '' then put(string.sub(redis.call('GET', key), 44), keep(1))\n" \
    "  elseif e.flags >= 2 then tombstone(e.version, ARGV[4])\n" \
    "  else redis.call('DEL', key) end\n" \
    "  wake(e)\n" \
    "  return { 0, life, us, 0 }\n" \
    "end\n"

/* Does something else stand there than the writer says?  `absent`: an entry of this life does.  A version:
 * not that very entry does.  Versions of two lives say nothing of each other; a writer knows a life by 32 bits. */
#define OTHER \
    "local function folded(of)\n" \
    "  local f = ''\n" \
    "  for i = 1, #of / 2 do\n" \
    "    local a, b, x = string.byte(of, i), string.byte(of, i + 4), 0\n" \
    "    for k = 0, 7 do\n" \
    "      if a % 2 ~= b % 2 then x = x + 2 ^ k end\n" \
    "      a = math.floor(a / 2); b = math.floor(b / 2)\n" \
    "    end\n" \
    "    f = f .. string.char(x)\n" \
    "  end\n" \
    "  return f == '\\0\\0\\0\\0' and '\\1\\0\\0\\0' or f\n" \
    "end\n" \
    "local function other(e, what, of)\n" \
    "  if not what or what == '' then return false end\n" \
    "  local at, from = 0, ''\n" \
    "  if e.inner ~= '' then at, from = stamp(e.inner) end\n" \
    "  local stands = e.inner ~= '' and (from == '' or from == life)\n" \
    "  if what == 'absent' then return stands end\n" \
    "  return not stands or at ~= tonumber(what) or folded(from) ~= of\n" \
    "end\n" \
    "local function newer(e, than, of)\n" \
    "  if not than or than == '' then return false end\n" \
    "  if e.kind == 'foreign' then return true end\n" /* a delete leaves it, and no word of itself */ \
    "  return e.version > tonumber(than) or (of and of ~= '' and folded(life) ~= of)\n" \
    "end\n"

/* set, store, backfill, delete look at the head alone, and do not mind what is no string.
 * delete: [4] milliseconds of the tombstone, [5] the life in which it was carried out already, or nothing, [6] and [7] as [10] and [11],
 * [8] as [7].
 * set, store, backfill: [4] milliseconds to live or '', [5] token, [6] age in milliseconds, [7] the version above which
 * nothing is replaced, [8] and [9] what stands before and behind the stamp, [10] the version that the entry has which is
 * replaced, or 'absent', or nothing, [11] that entry's life, folded; of [7] that in which it was counted, or nothing: another life is
 * newer. */
#define DO_WRITE \
    "local v = redis.pcall('GETRANGE', key, 0, 127)\n" \
    "if type(v) == 'table' and not string.find(v.err, 'WRONGTYPE', 1, true) then return v end\n" \
    "local e = look(type(v) == 'string' and v or '?')\n" \
    "local version = math.max(e.version + 1, us)\n" \
    "if ARGV[1] == 'delete' then\n" \
    "  if ARGV[5] == life then return { 4, life, us, 0 } end\n" \
    "  if other(e, ARGV[6], ARGV[7]) then return { 4, life, us, 0 } end\n" \
    "  if newer(e, ARGV[8], ARGV[7]) then return { 4, life, us, 0 } end\n" \
    "  if e.kind == 'foreign' then return { 3, life, us, 0 } end\n" \
    "  tombstone(version, ARGV[4])\n" \
    "  wake(e)\n" \
    "  return { 0, life, us, version }\n" \
    "end\n" \
    "if ARGV[1] == 'store' and not (mine(e, ARGV[5]) and e.life == life) then return { 4, life, us, 0 } end\n" \
    "if ARGV[1] == 'backfill' and e.kind ~= 'nothing' then return { 4, life, us, 0 } end\n" \
    "if newer(e, ARGV[7], ARGV[11]) then return { 4, life, us, 0 } end\n" \
    "if other(e, ARGV[10], ARGV[11]) then return { 4, life, us, 0 } end\n" \
    "put(ARGV[8] .. wide(version, 8) .. life .. wide(math.max(ms - ARGV[6], 0), 6) .. ARGV[9], ARGV[4])\n" \
    "wake(e)\n" \
    "return { 0, life, us, version }\n"

static const char text[] = NUMBERS STAMP LOOK FORCE LIFE REIGN BANS DO_LIFE DO_BAN DO_REIGN DO_CLEAR FIELDS DO_SWEEP
    COMMON DO_LEASE DO_RENEW OTHER DO_WRITE;

strata_slice strata__redis_script(void) { return strata_bytes(text, sizeof text - 1); }

void strata__redis_script_sha(char out[41]) { strata__sha1_hex(text, sizeof text - 1, out); }
