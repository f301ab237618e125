// What the program put in.
const data = JSON.parse(document.getElementById("data").textContent);

