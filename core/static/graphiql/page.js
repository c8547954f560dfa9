"use strict";

// The token lives in this page only: a reload signs out.
let token = null;

const url = window.location.pathname;
const form = document.getElementById("sign-in");
const who = document.getElementById("who");
const signOut = document.getElementById("sign-out");

const LOGIN = `mutation SignIn($login: String!, $password: String!) {
  login(input: { login: $login, password: $password }) { accessToken user { displayName } userErrors { message } }
}`;

async function post(body, headers) {
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/graphql-response+json",
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...headers,
    },
    body: JSON.stringify(body),
  });
  return response.json();
}

function show(words, { fault = false } = {}) {
  who.textContent = words;
  who.className = fault ? "fault" : "";
  form.className = token ? "in" : "";
  signOut.hidden = !token;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const given = new FormData(form);
  try {
    const variables = { login: given.get("login"), password: given.get("password") };
    const answer = await post({ query: LOGIN, variables, operationName: "SignIn" });
    const login = answer.data && answer.data.login;
    if (!login || !login.accessToken) {
      const faults = (login && login.userErrors) || answer.errors || [];
      show(faults.length ? faults[0].message : "Sign-in failed", { fault: true });
      return;
    }
    token = login.accessToken;
    form.reset();
    show(`Signed in as ${login.user.displayName}`);
    draw();
  } catch {
    show("The server cannot be reached", { fault: true });
  }
});

signOut.addEventListener("click", () => {
  token = null;
  show("Not signed in");
  draw();
});

const root = ReactDOM.createRoot(document.getElementById("graphiql"));
const explorer = GraphiQLPluginExplorer.explorerPlugin();
const EXAMPLE = `# Sign in above, then press the play button or Ctrl-Enter.
query FirstCustomers {
  customers(first: 10) {
    totalCount
    nodes { id code name createdAt owner { displayName } }
  }
}
`;

function draw() {
  // A new fetcher makes GraphiQL read the schema again.
  const fetcher = (request, options) => post(request, options && options.headers);
  root.render(
    React.createElement(GraphiQL, {
      fetcher,
      defaultQuery: EXAMPLE,
      plugins: [explorer],
      inputValueDeprecation: true,
      shouldPersistHeaders: false,
    }),
  );
}

draw();
