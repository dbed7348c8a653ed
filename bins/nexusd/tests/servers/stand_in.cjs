// Loaded before a server that knows one address of the internet only: leads its requests to a stand-in.
//
//   STAND_IN_OF=https://api.example.com STAND_IN=http://127.0.0.1:1234 node --require ./stand_in.cjs server.js

const { STAND_IN_OF, STAND_IN } = process.env;
const usual = globalThis.fetch;

globalThis.fetch = (resource, init) => {
  const address = new URL(resource instanceof Request ? resource.url : resource);
  // Whoever asks somebody else has been led astray: nothing here leaves the machine.
  if (address.origin !== STAND_IN_OF) throw new Error(`a request to ${address.origin}`);
  return usual(new URL(address.pathname + address.search, STAND_IN), init);
};
