// Runs an agent's file so that who listens on the port that AgentCore's contract gives to the protocol gets the port that the variable PORT names, on 127.0.0.1.
//
//     node launcher.cjs PROTOCOL FILE
//
// The file runs as the program that it is in its container: `require.main`, `process.argv` and the rest are as if it had been started by itself.
'use strict';

const net = require('node:net');
const path = require('node:path');

const HOST = '127.0.0.1';
const CONTRACT_PORTS = { HTTP: 8080, AGUI: 8080, MCP: 8000, A2A: 9000 };

const [protocol, file] = process.argv.slice(2, 4);
const contract = CONTRACT_PORTS[protocol];
const given = Number(process.env.PORT);
const isOurs = (port) => Number(port) === contract || Number(port) === given;

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object' && isOurs(first.port)) {
    return listen.call(this, { ...first, port: given, host: HOST }, ...rest);
  }
  if ((typeof first === 'number' || typeof first === 'string') && isOurs(first)) {
    // listen(port[, host][, backlog][, callback]): the host is replaced, or put in.
    const after = typeof rest[0] === 'string' || rest[0] === undefined ? rest.slice(1) : rest;
    return listen.call(this, given, HOST, ...after);
  }
  return listen.call(this, first, ...rest);
};

process.argv.splice(1, 3, path.resolve(file));
require('node:module').runMain(process.argv[1]);
