module spillway.example/go

go 1.19
