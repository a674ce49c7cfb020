export default { name: "PlainJob", run: () => {} };
