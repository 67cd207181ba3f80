/* sim_lua.c - scripts as a server runs them: KEYS, ARGV, redis.call and redis.pcall, and how replies become values and values replies.
 *
 * One interpreter a process; a script is compiled once.  What differs from a server: there is no sandbox, and an error that a
 * script does not catch is answered in the words it was raised with. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim_server.h"
#include "tests/sim/sim_world.h"

enum { SCRIPTS_MOST = 64, ARGS_MOST = 256 };

static lua_State *lua;
static struct {
    char sha[41];
    int ref;
} scripts[SCRIPTS_MOST];
static size_t script_count;
static const char *sabotaged, *sabotaged_by;

/* To and fro ---------------------------------------------------------------------------------------------------------- */

static void push_reply(lua_State *l, const struct redisReply *reply)
{
    switch (reply->kind) {
    case REDIS_IS_TEXT: lua_pushlstring(l, reply->text, reply->size); break;
    case REDIS_IS_INTEGER: lua_pushnumber(l, (lua_Number)reply->integer); break;
    case REDIS_IS_NIL: lua_pushboolean(l, 0); break;
    case REDIS_IS_STATUS:
    case REDIS_IS_ERROR:
        lua_newtable(l);
        lua_pushlstring(l, reply->text, reply->size);
        lua_setfield(l, -2, reply->kind == REDIS_IS_ERROR ? "err" : "ok");
        break;
    default:
        lua_newtable(l);
        for (size_t i = 0; i < reply->size; i++) {
            push_reply(l, reply->items[i]);
            lua_rawseti(l, -2, (int)i + 1);
        }
    }
}

static struct redisReply *reply_field(lua_State *l, const char *name, enum redis_reply_kind kind)
{
    struct redisReply *reply = NULL;
    size_t size;
    lua_getfield(l, -1, name);
    if (lua_type(l, -1) == LUA_TSTRING) {
        const char *text = lua_tolstring(l, -1, &size);
        reply = sim_reply_text(kind, text, size);
    }
    lua_pop(l, 1);
    return reply;
}

/* Of the value on top of the stack, which is popped. */
static struct redisReply *pop_reply(lua_State *l)
{
    struct redisReply *reply = NULL;
    size_t size;
    switch (lua_type(l, -1)) {
    case LUA_TSTRING: {
        const char *text = lua_tolstring(l, -1, &size);
        reply = sim_reply_text(REDIS_IS_TEXT, text, size);
        break;
    }
    case LUA_TNUMBER: reply = sim_reply_integer((int64_t)lua_tonumber(l, -1)); break;
    case LUA_TBOOLEAN: reply = lua_toboolean(l, -1) ? sim_reply_integer(1) : sim_reply_nil(); break;
    case LUA_TTABLE:
        reply = reply_field(l, "err", REDIS_IS_ERROR);
        if (reply == NULL)
            reply = reply_field(l, "ok", REDIS_IS_STATUS);
        if (reply != NULL)
            break;
        reply = sim_reply_array();
        for (int i = 1;; i++) {
            lua_rawgeti(l, -1, i);
            if (lua_isnil(l, -1)) {
                lua_pop(l, 1);
                break;
            }
            sim_reply_add(reply, pop_reply(l));
        }
        break;
    default: reply = sim_reply_nil();
    }
    lua_pop(l, 1);
    return reply;
}

/* redis.* --------------------------------------------------------------------------------------------------------------- */

static struct redisReply *call(lua_State *l)
{
    strata_slice args[ARGS_MOST];
    char numbers[ARGS_MOST][32];
    size_t count = (size_t)lua_gettop(l);
    if (count == 0 || count > ARGS_MOST)
        sim_broken("a script calls redis.call with %zu arguments", count);
    for (size_t i = 0; i < count; i++) {
        if (lua_type(l, (int)i + 1) == LUA_TNUMBER) {
            int size = snprintf(numbers[i], sizeof numbers[i], "%.17g", lua_tonumber(l, (int)i + 1));
            args[i] = strata_bytes(numbers[i], (size_t)size);
        } else if (lua_type(l, (int)i + 1) == LUA_TSTRING) {
            args[i].data = lua_tolstring(l, (int)i + 1, &args[i].size);
        } else {
            sim_broken("a script calls redis.call with what is neither string nor number");
        }
    }
    return sim_server_command(args, count);
}

static int redis_pcall(lua_State *l)
{
    struct redisReply *reply = call(l);
    push_reply(l, reply);
    sim_reply_free(reply);
    return 1;
}

static int redis_call(lua_State *l)
{
    struct redisReply *reply = call(l);
    if (reply->kind == REDIS_IS_ERROR) {
        lua_pushlstring(l, reply->text, reply->size);
        sim_reply_free(reply);
        return lua_error(l);
    }
    push_reply(l, reply);
    sim_reply_free(reply);
    return 1;
}

static int error_reply(lua_State *l)
{
    lua_newtable(l);
    lua_pushvalue(l, 1);
    lua_setfield(l, -2, "err");
    return 1;
}

static int status_reply(lua_State *l)
{
    lua_newtable(l);
    lua_pushvalue(l, 1);
    lua_setfield(l, -2, "ok");
    return 1;
}

static void open_lua(void)
{
    static const luaL_Reg functions[] = { { "call", redis_call },
                                          { "pcall", redis_pcall },
                                          { "error_reply", error_reply },
                                          { "status_reply", status_reply },
                                          { NULL, NULL } };
    lua = luaL_newstate();
    if (lua == NULL)
        sim_broken("no memory for Lua");
    luaL_openlibs(lua);
    luaL_register(lua, "redis", functions);
    lua_pop(lua, 1);
}

static void close_lua(void)
{
    if (lua != NULL)
        lua_close(lua);
    lua = NULL;
}

/* Scripts ----------------------------------------------------------------------------------------------------------------- */

void sim_lua_sabotage(const char *text, const char *by)
{
    for (size_t i = 0; i < script_count; i++)
        luaL_unref(lua, LUA_REGISTRYINDEX, scripts[i].ref);
    script_count = 0;
    sabotaged = text;
    sabotaged_by = by;
}

static char *edited(strata_slice text, size_t *out_size)
{
    size_t more = sabotaged != NULL ? strlen(sabotaged_by) : 0;
    char *copy = calloc(1, text.size + more + 1);
    if (copy == NULL)
        sim_broken("no memory for a script");
    memcpy(copy, text.data, text.size);
    *out_size = text.size;
    if (sabotaged == NULL)
        return copy;
    char *at = strstr(copy, sabotaged);
    if (at == NULL)
        sim_broken("what is to be sabotaged does not stand in the script: %s", sabotaged);
    size_t old = strlen(sabotaged), rest = strlen(at + old) + 1;
    memmove(at + more, at + old, rest);
    memcpy(at, sabotaged_by, more);
    *out_size = text.size - old + more;
    return copy;
}

static int compiled(strata_slice text, const char *sha)
{
    for (size_t i = 0; i < script_count; i++)
        if (strcmp(scripts[i].sha, sha) == 0)
            return scripts[i].ref;
    if (lua == NULL) {
        open_lua();
        if (atexit(close_lua) != 0)
            sim_broken("atexit");
    }
    if (script_count == SCRIPTS_MOST)
        sim_broken("more scripts than the simulated server has room for");
    size_t size;
    char *copy = edited(text, &size);
    if (luaL_loadbuffer(lua, copy, size, "@user_script") != 0)
        sim_broken("the script does not compile: %s", lua_tostring(lua, -1));
    free(copy);
    snprintf(scripts[script_count].sha, sizeof scripts[0].sha, "%s", sha);
    scripts[script_count].ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    return scripts[script_count++].ref;
}

static void set_list(const char *name, const strata_slice *list, size_t count)
{
    lua_createtable(lua, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_pushlstring(lua, list[i].data, list[i].size);
        lua_rawseti(lua, -2, (int)i + 1);
    }
    lua_setglobal(lua, name);
}

struct redisReply *sim_lua_run(strata_slice text, const char *sha, const strata_slice *keys, size_t key_count,
                               const strata_slice *args, size_t arg_count)
{
    int ref = compiled(text, sha);
    set_list("KEYS", keys, key_count);
    set_list("ARGV", args, arg_count);
    lua_rawgeti(lua, LUA_REGISTRYINDEX, ref);
    int failed = lua_pcall(lua, 0, 1, 0);
    struct redisReply *reply = pop_reply(lua);
    if (!failed)
        return reply;
    /* What redis.call raised is an answer; anything else is a mistake in the script. */
    if (reply->kind != REDIS_IS_TEXT || strncmp(reply->text, "@user_script", 12) == 0)
        sim_broken("a script failed: %s", reply->text);
    reply->kind = REDIS_IS_ERROR;
    return reply;
}
