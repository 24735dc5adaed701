// AgentCore's contract in plain Node: it listens on the contract's port; here it gets its session's.
import { createServer } from 'node:http';

const server = createServer(async (request, response) => {
  const answer = (status, document) => {
    response.writeHead(status, { 'content-type': 'application/json' });
    response.end(JSON.stringify(document));
  };
  if (request.url === '/ping') {
    return answer(200, { status: 'Healthy' });
  }
  if (request.method !== 'POST' || request.url !== '/invocations') {
    return answer(404, { error: 'no such route' });
  }
  let body = '';
  for await (const piece of request) {
    body += piece;
  }
  const session = request.headers['x-amzn-bedrock-agentcore-runtime-session-id'];
  return answer(200, { result: JSON.parse(body).prompt, session });
});

server.listen(8080, '0.0.0.0');
